package main

import (
	"bytes"
	"strings"
	"testing"
)

// Every command has help, and the examples in it are ones that it takes.
func TestEveryCommandHasHelpThatHolds(t *testing.T) {
	for _, cmd := range commands {
		var out bytes.Buffer
		s := &shell{out: &out}
		words, err := split("help " + cmd.name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.dispatch(t.Context(), words); err != nil {
			t.Errorf("help %s: %v", cmd.name, err)
		}
		for _, want := range append([]string{"usage: " + cmd.usage, "example:"}, strings.Split(cmd.example, "\n")...) {
			if !strings.Contains(out.String(), want) {
				t.Errorf("help %s does not say %q:\n%s", cmd.name, want, out.String())
			}
		}
		for example := range strings.SplitSeq(cmd.example, "\n") {
			words, err := split(example)
			if err != nil || len(words) == 0 || find(words[0].text) == nil || words[0].text != cmd.name {
				t.Errorf("help %s: the example %q is none: %v", cmd.name, example, err)
				continue
			}
			c, err := cmd.parse(words[1:])
			if err == nil && cmd.raw {
				_, err = s.searchFor(t.Context(), c)
			}
			if err != nil {
				t.Errorf("help %s: the example %q: %v", cmd.name, example, err)
			}
		}
	}
}

func TestFlagsEndAtTwoDashes(t *testing.T) {
	words, err := split("rm -rf -- -r '--force'")
	if err != nil {
		t.Fatal(err)
	}
	c, err := find("rm").parse(words[1:])
	if err != nil || !c.set["recursive"] || !c.set["force"] || len(c.words) != 2 || c.text(0) != "-r" || c.text(1) != "--force" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSizesAreWrittenForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1.0K", 1536: "1.5K", 10 << 10: "10K", 1<<20 - 1: "1.0M", 1 << 30: "1.0G", 5 << 40: "5.0T"} {
		if got := sizeText(n, true); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
		if got := sizeText(n, false); strings.ContainsAny(got, "KMGT") {
			t.Errorf("%d bytes are %s", n, got)
		}
	}
}
