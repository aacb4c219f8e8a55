package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// shellCommand is how a person calls efsc against a server of kit's.
func shellCommand(t *testing.T, server *kit.Server, flags ...string) string {
	t.Helper()
	return kit.Bin(t, "efsc") + " -h " + strings.TrimPrefix(server.URL, "https://") +
		" -u " + server.Out + "/priv.pgp -c " + server.Out + "/clientCert.crt --ca " + server.Out + "/ca.crt " + strings.Join(flags, " ")
}

func store(t *testing.T, c *client.Client, path, content string) {
	t.Helper()
	if _, err := c.Put(t.Context(), path, strings.NewReader(content), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestTabCompletes(t *testing.T) {
	server := kit.New(t)
	c := server.Client()
	store(t, c, "/My Docs/two words.txt", "two words\n")
	store(t, c, "/My Docs/it's.txt", "an apostrophe\n")
	store(t, c, "/zero/0a", "zero a\n")
	store(t, c, "/zero/0b\x1b[2J", "")
	for _, name := range []string{"alpha-one", "alpha-two"} {
		store(t, c, "/many/"+strings.Repeat("long", 20)+name, name+"\n")
	}
	local := t.TempDir()
	if err := os.WriteFile(filepath.Join(local, "local file.txt"), []byte("from here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := atTerminal(t, shellCommand(t, server))
	run := func(keys, want string) {
		t.Helper()
		x.expect("efs> ")
		x.typeIn(keys)
		x.expect(want)
	}
	run("cat M\tt\t\r", "two words\r\n")            // within no quotes
	run("cat 'M\tt\t\r", "two words\r\n")           // begun in quotes
	run("cat \"M\ti\t\r", "an apostrophe\r\n")      // a quote in a name
	run("cd z\t\r", "/zero efs> ")                  // a directory goes on, the command does not mind
	x.typeIn("cat 0\t\r")                           // what sorts behind a slash; no control characters
	run("", "zero a\r\n")                           //
	x.expect("/zero efs> ")                         //
	x.typeIn("cat /many/\t\x01\t\x05o\t\r")         // names too wide for a list: as far as they agree
	x.expect("alpha-one\r\n")                       //
	x.expect("/zero efs> ")                         //
	x.typeIn("put --no\t " + local + "/lo\t x\t\r") // flags and local paths
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn("lcd " + local + "\r")
	x.expect("efs> ")
	x.typeIn("put l\t by-lcd\r")
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn("cat by-l\t\r")
	x.expect("from here\r\n")
	x.typeIn("st\t")
	x.expect("sto")
	x.typeIn("\x15stop\r") // Ctrl-U
	seen := x.end()
	if strings.Contains(seen, "\x1b[2J") {
		t.Errorf("a name drove the terminal:\n%q", seen)
	}
}

func TestHistoryIsKeptOnlyWhereAskedFor(t *testing.T) {
	server := kit.New(t)
	home := t.TempDir()
	file := filepath.Join(home, "history")
	x := atTerminal(t, shellCommand(t, server, "--history", file), "HOME="+home)
	x.expect("efs> ")
	x.typeIn("mkdir /first\r")
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn(" mkdir /secret\r") // begins with a space
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn("post /x <<E\rcontents\rE\r")
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn("clear-cache\r")
	x.expect("(y/N) :")
	x.typeIn("n\r")
	x.expect("Nothing was removed.")
	x.expect("efs> ")
	x.typeIn("\x1b[A\x1b[A\x1b[A\x08\x08\x08\x08\x08again\r") // up, up, up
	x.expect("Done.")
	x.expect("efs> ")
	x.typeIn("stop\r")
	x.end()
	got, err := os.ReadFile(file)
	if want := "mkdir /first\npost /x <<E\nclear-cache\nmkdir /again\nstop\n"; err != nil || string(got) != want {
		t.Errorf("history %q, %v; want %q", got, err, want)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode() != 0o600 {
		t.Errorf("history: %v, %v", fi, err)
	}

	y := atTerminal(t, shellCommand(t, server, "--history", file), "HOME="+home)
	y.expect("efs> ")
	y.typeIn("\x12AGAIN\r") // Ctrl-R, whatever the case: it finds mkdir /again
	y.expect("something at this path already")
	y.expect("efs> ")
	y.typeIn("\x04")
	y.end()
	z := atTerminal(t, shellCommand(t, server, "--history", home), "HOME="+home)
	z.expect("efsc: ")
	_ = z.cmd.Wait() // which fails
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	server := kit.New(t)
	c := server.Client()
	store(t, c, "/d/file", "")
	if _, err := c.Symlink(t.Context(), "/d/link", "file", client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for what, env := range map[string]string{"colours": "TERM=xterm", "NO_COLOR": "NO_COLOR=1"} {
		x := atTerminal(t, "env "+env+" "+shellCommand(t, server))
		x.expect("efs> ")
		x.typeIn("ls -l / /d\r")
		x.expect("-> file")
		x.expect("efs> ")
		x.typeIn("cat /d/link\r")
		x.expect("/d/link is a symbolic link to file")
		x.typeIn("stop\r")
		seen := x.end()
		dir, link := strings.Contains(seen, "\x1b[1;34md/\x1b[0m"), strings.Contains(seen, "\x1b[1;36mlink")
		if want := what == "colours"; dir != want || link != want {
			t.Errorf("%s: coloured %v, %v:\n%q", what, dir, link, seen)
		}
	}
}

func TestCtrlCEndsTheCommandAndNotTheShell(t *testing.T) {
	server := kit.New(t)
	local := t.TempDir()
	fifo := filepath.Join(local, "big")
	f, err := os.Create(fifo)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64 << 30); err != nil { // more than can be sent
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	x := atTerminal(t, shellCommand(t, server))
	x.expect("efs> ")
	x.typeIn("put " + fifo + " /big\r")
	x.expect("Encryption...")
	x.expect("/s") // the rate at which it travels
	x.typeIn("\x03")
	x.expect("efsc: interrupted")
	x.expect("efs> ")
	x.typeIn("ls\r")
	x.expect("efs> ")
	x.typeIn("stop\r")
	x.end()
	if _, err := server.Client().Stat(t.Context(), "/big"); err == nil {
		t.Error("what was given up was stored")
	}
}
