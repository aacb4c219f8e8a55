package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func example() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "prog", Short: "Do things"}
	root.PersistentFlags().String("root", "/efs", "root of the `DIR`")
	one := &cobra.Command{Use: "one FILE", Short: "Do one", Run: run,
		Long:    "It's done to \\files:\n\n  one . two\n'quoted' at the start,\n.dots too.",
		Example: "  prog one 'a b'\n    # deeper\n  prog one -"}
	one.Flags().BoolP("all", "a", false, "all of them")
	one.Flags().String("secret", "", "not for people")
	_ = one.Flags().MarkHidden("secret")
	root.AddCommand(one, &cobra.Command{Use: "two", Short: "Do two", Run: run}, &cobra.Command{Use: "inner", Short: "x", Hidden: true, Run: run})
	return root
}

func TestAPageTellsWhatHelpTells(t *testing.T) {
	root := example()
	one, _, err := root.Find([]string{"one"})
	if err != nil {
		t.Fatal(err)
	}
	page := Page(one, 8)
	for _, want := range []string{
		`.TH "PROG-ONE" 8 "" EFS "EFS Manual"`, "prog\\-one \\- Do one", ".B \"prog one\"\nFILE [flags]",
		"It\\(aqs done to \\efiles:", "one . two", "\n\\&\\(aqquoted\\(aq at the start,", "\n\\&.dots too.",
		"\\fB\\-a\\fR, \\fB\\-\\-all\\fR\nall of them", "\\fB\\-\\-root\\fR \\fIDIR\\fR\nroot of the DIR (default /efs)",
		"prog one \\(aqa b\\(aq\n  # deeper\nprog one \\-", `.BR "prog" (8),`, `.BR "prog\-two" (8)`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "secret") || strings.Contains(page, "inner") {
		t.Errorf("the page tells of what is hidden:\n%s", page)
	}
}

func TestPagesAndScriptsAreWritten(t *testing.T) {
	dir, root := t.TempDir(), example()
	Attach(root, 1, []string{"__manual", dir})
	root.SetArgs([]string{"__manual", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(dir, path)
			got = append(got, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "completions/bash/prog completions/fish/prog.fish completions/zsh/_prog man/man1/prog-one.1 man/man1/prog-two.1 man/man1/prog.1"
	if strings.Join(got, " ") != want {
		t.Errorf("written: %s\nwant     %s", got, want)
	}
}

func TestNothingIsAddedUnasked(t *testing.T) {
	root := &cobra.Command{Use: "alone", Run: func(*cobra.Command, []string) {}}
	Attach(root, 1, []string{"file"})
	if root.HasSubCommands() {
		t.Error("a command without subcommands has one")
	}
}
