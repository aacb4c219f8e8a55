package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
)

func (s *shell) help(_ context.Context, c *call) error {
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	if len(c.words) == 0 {
		for _, cmd := range commands {
			fmt.Fprintf(w, "%s\t%s\n", cmd.name, cmd.short)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprint(s.out, "\n`help COMMAND` tells more. Words are quoted as in a shell; * ? [ ] match names.\n"+
			"Tab completes, the arrows and Ctrl-R go back in the history, Ctrl-C ends a command.\n")
		return err
	}
	cmd := find(c.text(0))
	if cmd == nil {
		return usagef("there is no command %q; `help` lists them", c.text(0))
	}
	fmt.Fprintf(w, "usage: %s\n\n%s\n", cmd.usage, orElse(cmd.long, strings.ToUpper(cmd.short[:1])+cmd.short[1:]+"."))
	if len(cmd.flags) > 0 {
		fmt.Fprintln(w)
	}
	for _, f := range cmd.flags {
		fmt.Fprintf(w, "  %s\t%s\n", &f, f.help)
	}
	fmt.Fprintf(w, "\nexample:\n  %s\n", strings.ReplaceAll(cmd.example, "\n", "\n  "))
	return w.Flush()
}

func orElse(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// exit ends this session and nothing else.
func (s *shell) exit(context.Context, *call) error {
	s.stopped = true
	return nil
}
