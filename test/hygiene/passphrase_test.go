package hygiene

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/test/kit"
)

const passphrase = "correct horse 7 battery staple"

// TestPassphraseLeavesMemory makes a root with a passphrase that is typed on a
// terminal, and opens it by one that efsctl hands over, and looks for it.
func TestPassphraseLeavesMemory(t *testing.T) {
	root := filepath.Join(t.TempDir(), "efs")
	typed := startOnTerminal(t, root, passphrase+"\n"+passphrase+"\n")
	mustNotHold(t, typed.pid, "typed at the first start")
	typed.stop()
	typed = startOnTerminal(t, root, passphrase+"\n")
	mustNotHold(t, typed.pid, "typed at a start")
	typed.stop()

	server := kit.Dumpable(t, "efs-server")
	addr := freeAddr(t)
	cmd := exec.Command(server, "--root", root, "--listen", addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	ctl := func(stdin string, args ...string) {
		t.Helper()
		c := exec.Command(kit.Dumpable(t, "efsctl"), append([]string{"--root", root}, args...)...)
		c.Stdin = strings.NewReader(stdin)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("efsctl %v: %v\n%s", args, err, out)
		}
	}
	for range 100 {
		if _, err := os.Stat(filepath.Join(root, ".server", "admin.sock")); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	ctl(passphrase+"\n", "unseal", "--passphrase")
	waitReady(t, server, addr)
	mustNotHold(t, cmd.Process.Pid, "handed over by efsctl unseal")
}

// mustNotHold searches a process for the passphrase, in every form, and for
// parts of it.
func mustNotHold(t *testing.T, pid int, when string) {
	t.Helper()
	n := textNeedle("passphrase", []byte(passphrase))
	n.forms = append(n.forms, form{"raw, its end", []byte(passphrase[14:])})
	hits, _, err := scan(pid, []needle{n})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hits {
		t.Errorf("%s: the passphrase as %s in %s", when, h.form, h.where)
	}
}

type process struct {
	pid  int
	stop func()
}

// startOnTerminal starts a server that asks on a terminal, where input is
// typed, and waits until it is ready.
func startOnTerminal(t *testing.T, root, input string) process {
	t.Helper()
	server, addr := kit.Dumpable(t, "efs-server"), freeAddr(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	line := fmt.Sprintf("echo $$ > %s; exec %s --root %s --listen %s --starter-prompt", pidFile, server, root, addr)
	cmd := exec.Command("script", "-qfec", line, "/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What is typed before the question is asked would be shown and thrown away.
	time.Sleep(2 * time.Second)
	for line := range strings.Lines(input) {
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	waitReady(t, server, addr)
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if p, err := os.FindProcess(pid); err == nil {
			p.Signal(os.Interrupt)
		}
		in.Close()
		cmd.Wait()
	}
	t.Cleanup(stop)
	return process{pid, stop}
}

func waitReady(t *testing.T, server, addr string) {
	t.Helper()
	for range 200 {
		if exec.Command(server, "healthcheck", "--ready", "--listen", addr).Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the server did not become ready")
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
