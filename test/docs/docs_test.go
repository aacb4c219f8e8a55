// Package docs runs what the documents show. Every fenced block marked
// `console` in README.md and docs/*.md is a session: lines that begin with
// `$ ` are commands (continued by `> `), the lines below them what they
// print. The blocks of one document run one after another in one shell in a
// fresh directory, each command must succeed, and what it prints must fit
// what the document shows; `…` stands for anything. The ports that documents
// use, 8443 and 9443, are replaced by free ones.
package docs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

type step struct {
	line    int
	command string
	want    []string
}

// sessions returns the steps of a document's console blocks.
func sessions(doc string) []step {
	var steps []step
	in := false
	for n, line := range strings.Split(doc, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			in = !in && strings.TrimSpace(line) == "```console"
		case !in:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: n + 1, command: line[2:]})
		case strings.HasPrefix(line, "> ") && len(steps) > 0 && len(steps[len(steps)-1].want) == 0:
			steps[len(steps)-1].command += "\n" + line[2:]
		case len(steps) > 0:
			last := &steps[len(steps)-1]
			last.want = append(last.want, line)
		}
	}
	return steps
}

// pattern turns what a document shows into an expression that matches what is
// printed, blanks at the ends of lines aside: `…` stands for anything, alone on
// a line for any lines or none.
func pattern(want []string) *regexp.Regexp {
	var b strings.Builder
	for _, line := range want {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		line = strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", ".*?")
		b.WriteString(line + `[ \t\r]*\n`)
	}
	return regexp.MustCompile(`^` + b.String() + `$`)
}

// freePorts puts ports that nobody uses in the place of the documents'.
func freePorts(t *testing.T, doc string) string {
	t.Helper()
	for _, port := range []string{"8443", "9443"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // both are held until both are known
		_, free, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		doc = strings.ReplaceAll(doc, port, free)
	}
	return doc
}

func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md")
	total := 0
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		steps := sessions(freePorts(t, string(doc)))
		if len(steps) == 0 {
			continue
		}
		total += len(steps)
		t.Run(filepath.Base(file), func(t *testing.T) { run(t, steps) })
	}
	if total < 10 {
		t.Errorf("only %d commands were found in the documents", total)
	}
}

// run feeds the steps to one shell and compares what each prints.
func run(t *testing.T, steps []step) {
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("set -o pipefail\n")
	for i, s := range steps {
		// Each command's output goes to a file of its own; the shell stays
		// the same, so that variables and background jobs last.
		fmt.Fprintf(&script, "{ %s\n} >%s/.step-%d 2>&1 || { echo 'step %d failed'; exit 1; }\n", s.command, dir, i, i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Dir = dir
	scripts, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Dir(kit.Bin(t, "efs"))
	environ := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "EFS_") }) // a reader has none
	cmd.Env = append(environ, "PATH="+bin+":"+scripts+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/.config", "GNUPGHOME=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that background servers end with it
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	runErr := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever was left in the background
	for i, s := range steps {
		printed, err := os.ReadFile(fmt.Sprintf("%s/.step-%d", dir, i))
		if err != nil {
			break // the shell did not get here
		}
		if got := strings.TrimRight(string(printed), "\n \t") + "\n"; len(s.want) > 0 && !pattern(s.want).MatchString(got) {
			t.Errorf("line %d: $ %s\nprinted:\n%s\nthe document shows:\n%s", s.line, s.command, got, strings.Join(s.want, "\n"))
		} else if runErr != nil && strings.Contains(out.String(), fmt.Sprintf("step %d failed", i)) {
			t.Errorf("line %d: $ %s\nfailed:\n%s", s.line, s.command, got)
		}
	}
	if runErr != nil {
		t.Errorf("the shell: %v\n%s", runErr, out.String())
	}
}
