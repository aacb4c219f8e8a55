// Package manual makes manual pages and completion scripts of the commands
// from the commands themselves, so that they never tell anything else than
// --help does.
//
// A page is written in the man macros of roff (man(7), groff_man(7)), one for a
// command and one for each of its subcommands, as git has them: efs(1),
// efs-cp(1).
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// word is the argument that asks a program for its pages; like cobra's
// __complete it is there only for whoever calls it.
const word = "__manual"

// Attach gives root the hidden command `__manual DIR`, if args ask for it. It
// writes DIR/man/manN/NAME.N for every command that is not hidden, in the
// given section, and DIR/completions/ with the scripts for bash, zsh and fish.
// Otherwise root stays as it is, so that a command without subcommands has none.
func Attach(root *cobra.Command, section int, args []string) {
	if len(args) == 0 || args[0] != word {
		return
	}
	root.AddCommand(&cobra.Command{
		Use: word + " DIR", Hidden: true, Args: cobra.ExactArgs(1),
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE:              func(_ *cobra.Command, args []string) error { return Write(root, section, args[0]) },
	})
}

// Write writes the pages and completion scripts of root below dir. What there
// is of the same name is replaced.
func Write(root *cobra.Command, section int, dir string) error {
	if err := pages(root, section, filepath.Join(dir, "man", fmt.Sprintf("man%d", section))); err != nil {
		return fmt.Errorf("writing the manual: %w", err)
	}
	if err := completions(root, filepath.Join(dir, "completions")); err != nil {
		return fmt.Errorf("writing completion scripts: %w", err)
	}
	return nil
}

// pages writes the page of cmd and those of what is below it.
func pages(cmd *cobra.Command, section int, dir string) error {
	cmd.InitDefaultHelpFlag()
	name := filepath.Join(dir, fmt.Sprintf("%s.%d", pageName(cmd), section))
	if err := writeFile(name, Page(cmd, section)); err != nil {
		return err
	}
	for _, sub := range shown(cmd) {
		if err := pages(sub, section, dir); err != nil {
			return err
		}
	}
	return nil
}

// shown are the subcommands that people are told of. What cobra adds itself,
// help and completion, tells of itself by --help.
func shown(cmd *cobra.Command) (subs []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" && !sub.IsAdditionalHelpTopicCommand() {
			subs = append(subs, sub)
		}
	}
	return subs
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// completions writes the scripts under the names that the shells look for.
func completions(root *cobra.Command, dir string) error {
	name := root.Name()
	scripts := map[string]func(*strings.Builder) error{
		filepath.Join("bash", name):         func(b *strings.Builder) error { return root.GenBashCompletionV2(b, true) },
		filepath.Join("zsh", "_"+name):      func(b *strings.Builder) error { return root.GenZshCompletion(b) },
		filepath.Join("fish", name+".fish"): func(b *strings.Builder) error { return root.GenFishCompletion(b, true) },
	}
	for file, generate := range scripts {
		var b strings.Builder
		if err := generate(&b); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, file), b.String()); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
