package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page returns the manual page of cmd. It carries no date, and of defaults only
// those that hold everywhere, so that every build makes the same one.
func Page(cmd *cobra.Command, section int) string {
	var p page
	p.line(".TH %s %d \"\" EFS \"EFS Manual\"", quote(strings.ToUpper(pageName(cmd))), section)
	p.line(".nh") // no word is hyphenated: it may be one to type
	p.line(".ad l")
	p.heading("NAME")
	p.line("%s \\- %s", escape(pageName(cmd)), escape(cmd.Short))
	p.heading("SYNOPSIS")
	p.line(".B %s", quote(escape(cmd.CommandPath())))
	if rest := strings.TrimPrefix(synopsis(cmd), cmd.CommandPath()); rest != "" {
		p.line("%s", escape(strings.TrimSpace(rest)))
	}
	p.heading("DESCRIPTION")
	p.text(description(cmd))
	p.commands(cmd, section)
	p.flags("OPTIONS", cmd.NonInheritedFlags())
	p.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.heading("EXAMPLES")
		p.literal(strings.Split(strings.Trim(cmd.Example, "\n"), "\n"))
	}
	p.seeAlso(cmd, section)
	return p.b.String()
}

// synopsis is cobra's line of use; of a command that only holds others it says
// that one of them is wanted.
func synopsis(cmd *cobra.Command) string {
	line := cmd.UseLine()
	if len(shown(cmd)) > 0 && !strings.Contains(line, "COMMAND") {
		line = strings.TrimSuffix(line, " [flags]") + " COMMAND [flags]"
	}
	return line
}

func description(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return cmd.Long
	}
	return cmd.Short + "."
}

// page is a page in the making.
type page struct{ b strings.Builder }

// line adds a line of roff; what is text in it must have been escaped.
func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *page) heading(title string) { p.line(".SH %s", quote(title)) }

// text sets paragraphs, filled; lines that are indented stay as they are.
func (p *page) text(text string) {
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(strings.Trim(paragraph, "\n"), "\n")
		if i > 0 {
			p.line(".PP")
		}
		for len(lines) > 0 {
			n := run(lines)
			if indented(lines[0]) {
				p.literal(lines[:n])
			} else {
				for _, line := range lines[:n] {
					p.line("%s", escape(line))
				}
			}
			lines = lines[n:]
		}
	}
}

// run is how many of the lines are like the first, indented or not.
func run(lines []string) int {
	for i, line := range lines {
		if indented(line) != indented(lines[0]) {
			return i
		}
	}
	return len(lines)
}

func indented(line string) bool { return strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") }

// literal sets lines as they are, but for the indentation that all have.
func (p *page) literal(lines []string) {
	margin := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	p.line(".RS 4")
	p.line(".nf")
	for _, line := range lines {
		p.line("%s", escape(strings.ReplaceAll(line[min(margin, len(line)-len(strings.TrimLeft(line, " "))):], "\t", "    ")))
	}
	p.line(".fi")
	p.line(".RE")
}

func (p *page) commands(cmd *cobra.Command, section int) {
	subs := shown(cmd)
	if len(subs) == 0 {
		return
	}
	p.heading("COMMANDS")
	for _, sub := range subs {
		p.line(".TP")
		p.line(".BR %s (%d)", quote(escape(pageName(sub))), section)
		p.line("%s", escape(sub.Short))
	}
}

// flags lists flags in the order in which --help does.
func (p *page) flags(title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	p.heading(title)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		p.line(".TP")
		tag := `\fB` + escape("--"+f.Name) + `\fR`
		if f.Shorthand != "" && f.ShorthandDeprecated == "" {
			tag = `\fB` + escape("-"+f.Shorthand) + `\fR, ` + tag
		}
		if kind != "" {
			tag += ` \fI` + escape(kind) + `\fR`
		}
		p.line("%s", tag)
		if f.DefValue != "" && !zero(f) && !strings.Contains(usage, "default") {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		p.line("%s", escape(usage))
	})
}

// zero reports defaults that say nothing.
func zero(f *pflag.Flag) bool {
	switch f.DefValue {
	case "false", "0", "0s", "[]", "<nil>":
		return true
	}
	return false
}

func (p *page) seeAlso(cmd *cobra.Command, section int) {
	var names []string
	if cmd.HasParent() {
		names = append(names, pageName(cmd.Parent()))
		for _, sister := range shown(cmd.Parent()) {
			if sister != cmd {
				names = append(names, pageName(sister))
			}
		}
	}
	if len(names) == 0 {
		return
	}
	p.heading("SEE ALSO")
	for i, name := range names {
		end := ","
		if i == len(names)-1 {
			end = ""
		}
		p.line(".BR %s (%d)%s", quote(escape(name)), section, end)
	}
}

// escape makes text of what roff would take as a request, an escape, or
// another character: backslash, hyphens, quotes and accents, a dot or an
// apostrophe at the start of a line.
func escape(s string) string {
	s = escapes.Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, `\(aq`) {
		s = `\&` + s
	}
	return s
}

var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`,
	"…", "...", "—", `\(em`, "–", `\(en`, "→", `\(->`, "×", `\(mu`, "µ", `\(mc`)

// quote makes one argument of a macro of s.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\(dq`) + `"` }
