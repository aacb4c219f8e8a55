package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// terminal is efsc at a pseudo-terminal, which script(1) makes.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys io.WriteCloser
	mu   sync.Mutex
	seen bytes.Buffer
	from int // what was expected already
}

func (x *terminal) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.Write(b)
}

func atTerminal(t *testing.T, command string, env ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, cmd: exec.Command("script", "-qec", "stty cols 80 rows 24; exec "+command, "/dev/null")}
	x.cmd.Env = append(os.Environ(), append(env, "TERM=dumb")...)
	x.cmd.Stdout, x.cmd.Stderr = x, x
	var err error
	if x.keys, err = x.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if x.cmd.ProcessState == nil {
			_ = x.cmd.Process.Kill()
			_ = x.cmd.Wait()
		}
	})
	return x
}

// expect waits for text to appear after what was expected before.
func (x *terminal) expect(text string) {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		rest := x.seen.String()[x.from:]
		if i := strings.Index(rest, text); i >= 0 {
			x.from += i + len(text)
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
	}
	x.t.Fatalf("%q did not appear; all that did:\n%s", text, x.seen.String())
}

func (x *terminal) typeIn(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.keys, keys); err != nil {
		x.t.Fatal(err)
	}
}

// end waits for efsc to end well.
func (x *terminal) end() string {
	x.t.Helper()
	if err := x.cmd.Wait(); err != nil {
		x.t.Errorf("efsc: %v\n%s", err, x.seen.String())
	}
	return x.seen.String()
}

func TestAtATerminal(t *testing.T) {
	server := kit.New(t)
	home := t.TempDir()
	command := kit.Bin(t, "efsc") + " -h " + strings.TrimPrefix(server.URL, "https://") +
		" -u " + server.Out + "/priv.pgp -c " + server.Out + "/clientCert.crt --ca " + server.Out + "/ca.crt --cache " + home
	x := atTerminal(t, command, "HOME="+home)
	x.expect("Connection to efs server active.")
	x.expect("`help` lists the commands.")
	x.expect("efs>")

	long := strings.Repeat("long ", 2000)
	x.typeIn("post /typed\r")
	x.expect("Ctrl-D on a line of its own ends them")
	x.typeIn("a\ttab, üx\x7f, erased\r" + long + "\r\x04")
	x.expect("Done.")
	x.expect("efs>")
	x.typeIn("post /dropped\r")
	x.expect("Ctrl-D")
	x.typeIn("never mind\x03")
	x.expect("interrupted: nothing was stored")
	x.typeIn("post /word <<END\rhere\rEND\r")
	x.expect("Done.")

	x.typeIn("sta\t /ty\t\r") // completed
	x.expect("Path:")
	x.expect("/typed")
	x.typeIn("get /word -\r")
	x.expect("here")
	x.typeIn("get /nothing\r")
	x.expect("there is nothing at this path")
	x.typeIn("clear-cache\r")
	x.expect("(y/N) :")
	x.typeIn("y\r")
	x.expect("Cache cleared.")
	x.typeIn("\x03stop\r") // Ctrl-C at the prompt ends a line, not the shell
	x.end()

	c := server.Client()
	got, err := c.ReadFile(t.Context(), "/typed")
	if want := "a\ttab, ü, erased\n" + long + "\n"; err != nil || string(got) != want {
		t.Errorf("stored %d bytes, %v; want %d", len(got), err, len(want))
	}
	if _, err := c.Stat(t.Context(), "/dropped"); err == nil {
		t.Error("what was given up was stored")
	}

	// A terminal shows text, and nothing that would drive it.
	if _, err := c.Put(t.Context(), "/escape", strings.NewReader("\x1b[2J"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	y := atTerminal(t, command, "HOME="+home)
	y.expect("efs>")
	y.typeIn("get /escape -\r")
	y.expect("is no text that fits a screen")
	y.typeIn("\x04") // Ctrl-D is the end of the input
	y.end()

	left, err := os.ReadDir(home)
	if err != nil || len(left) != 0 {
		t.Errorf("left on the disk: %v, %v", left, err)
	}
}

func TestSignalsEndIt(t *testing.T) {
	server := kit.New(t)
	args := []string{"-h", strings.TrimPrefix(server.URL, "https://"), "-u", server.Out + "/priv.pgp",
		"-c", server.Out + "/clientCert.crt", "--ca", server.Out + "/ca.crt"}
	for what, keys := range map[string]string{"at the prompt": "", "while typing": "post /x\r"} {
		pid := filepath.Join(t.TempDir(), "pid")
		x := atTerminal(t, "sh -c 'echo $$ >"+pid+"; exec "+kit.Bin(t, "efsc")+" "+strings.Join(args, " ")+"'")
		x.expect("efs>")
		x.typeIn(keys)
		if keys != "" {
			x.expect("Ctrl-D")
		}
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("kill", strings.TrimSpace(string(text))).CombinedOutput(); err != nil {
			t.Fatalf("kill: %v\n%s", err, out)
		}
		ended := make(chan error, 1)
		go func() { ended <- x.cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v\n%s", what, err, x.seen.String())
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: SIGTERM did not end it", what)
		}
	}
	// Waiting for the next command of a script.
	cmd := exec.Command(kit.Bin(t, "efsc"), args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil { // Ctrl-C without a terminal
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // by SIGINT: how is the shell's business, that it ends is what counts
}

func TestPassphraseIsAskedForAndNotShown(t *testing.T) {
	server := kit.New(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "geheim", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	server.Ctl("create-user", "ssh", "--fs", kit.FS, "--key", key+".pub", "--out", dir)
	command := kit.Bin(t, "efsc") + " -h " + strings.TrimPrefix(server.URL, "https://") +
		" -u " + key + " -c " + dir + "/clientCert.crt --ca " + dir + "/ca.crt"
	x := atTerminal(t, command)
	x.expect("Passphrase for " + key + ":")
	x.typeIn("\x03")
	x.expect("efsc: interrupted")
	_ = x.cmd.Wait() // which ends with a failure

	x = atTerminal(t, command)
	x.expect("Passphrase for " + key + ":")
	time.Sleep(50 * time.Millisecond) // the terminal stops showing keys after the question
	x.typeIn("geheim\r")
	x.expect("SSH User Auth: OK.")
	x.expect("efs>")
	x.typeIn("stop\r")
	if seen := x.end(); strings.Contains(seen, "geheim") {
		t.Errorf("the passphrase was shown:\n%s", seen)
	}
}
