package treesync

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func filterOf(t interface{ Fatal(...any) }, lines ...string) *Filter {
	var f Filter
	for _, l := range lines {
		if err := f.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	return &f
}

func TestTheLastPatternThatFitsDecides(t *testing.T) {
	f := filterOf(t, "# build output", "", "*.o", "!keep.o", "/bin/", "doc/**/*.tmp", `\!odd`, "q[a-c]?[!x]", "[[:digit:]]-log")
	for path, want := range map[string]bool{
		"a.o": true, "x/y/a.o": true, "keep.o": false, "x/keep.o": false,
		"bin/": true, "bin": false, "x/bin/": false, "bin/keep.o": true,
		"doc/a.tmp": true, "doc/x/y/a.tmp": true, "a.tmp": false, "!odd": true,
		"qbzy": true, "qbzx": false, "7-log": true, "a-log": false,
	} {
		name, dir := strings.CutSuffix(path, "/")
		if got := f.ExcludesBelow(name, dir); got != want {
			t.Errorf("%s: left out %v, want %v", path, got, want)
		}
	}
}

func TestPatternsThatCannotBeUnderstoodAreErrors(t *testing.T) {
	for _, p := range []string{`a\`, "[abc", "x/[!"} {
		if err := new(Filter).Add(p); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
}

// TestFilterAgreesWithGit compares with what git itself ignores.
func TestFilterAgreesWithGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	if out, err := exec.Command(git, "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var paths []string
	for _, a := range []string{"a", "b", "ab", "a.c"} {
		for _, b := range []string{"a", "b.c", "abc"} {
			for _, c := range []string{"a", "c", "x y"} {
				paths = append(paths, a+"/"+b+"/"+c)
			}
		}
		paths = append(paths, a+"-file")
	}
	for _, p := range paths {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	piece := rapid.SampledFrom([]string{"a", "b", "c", "*", "?", "**", "[ab]", "[!a]", ".c", "x y", "a.c", "-file", `\a`})
	pattern := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		if rapid.IntRange(0, 3).Draw(t, "not") == 0 {
			b.WriteString("!")
		}
		if rapid.IntRange(0, 3).Draw(t, "root") == 0 {
			b.WriteString("/")
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "segments") {
			if i > 0 {
				b.WriteString("/")
			}
			segment := strings.Join(rapid.SliceOfN(piece, 1, 2).Draw(t, "pieces"), "")
			if strings.Contains(segment, "**") {
				segment = "**" // beside something else git takes it now for one star, now for two
			}
			b.WriteString(segment)
		}
		if rapid.IntRange(0, 3).Draw(t, "dir") == 0 {
			b.WriteString("/")
		}
		return b.String()
	})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(pattern, 1, 4).Draw(t, "patterns")
		if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(git, "-C", dir, "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "--stdin")
		cmd.Stdin = strings.NewReader(strings.Join(paths, "\n"))
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: none
			t.Fatal(err)
		}
		want := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
		f := filterOf(t, lines...)
		for _, p := range paths {
			if got := f.ExcludesBelow(p, false); got != slices.Contains(want, p) {
				t.Fatalf("%q: %s: left out %v, git says %v", lines, p, got, !got)
			}
		}
	})
}
