// Package scripttest runs transcripts of efs-server and efsctl: real processes
// of the shipped binaries, each script on an empty root ($EFS_ROOT) and free
// ports ($PORT, $OPS) of its own.
//
// Beyond the commands of testscript, scripts have:
//
//	await URL CODE    wait until URL answers with the status code
//	serve [ARG…]      start efs-server on the root in the background, with the
//	                  key in starter.key, and wait until it serves; its log is server.log
//	sealed [ARG…]     the same without a key; waits until it is alive
//	crash             end that server with SIGKILL
//	terminate         end it with SIGTERM and wait for its exit code 0
//	                  (stop is testscript's own, and ends the script)
//	hangup            send it SIGHUP
//	exits CODE CMD …  run a command that must end with that exit code
package scripttest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/efs-project/efs/test/kit"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 60 * time.Second
)

// Run runs the scripts in dir.
func Run(t *testing.T, dir string) {
	noStop(t, dir)
	bin := filepath.Dir(kit.Bin(t, "efs-server"))
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setup(env, bin) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":     await,
			"serve":     func(ts *testscript.TestScript, neg bool, args []string) { start(ts, neg, args, true) },
			"sealed":    func(ts *testscript.TestScript, neg bool, args []string) { start(ts, neg, args, false) },
			"crash":     func(ts *testscript.TestScript, neg bool, args []string) { end(ts, neg, args, syscall.SIGKILL) },
			"terminate": func(ts *testscript.TestScript, neg bool, args []string) { end(ts, neg, args, syscall.SIGTERM) },
			"hangup":    hangup,
			"exits":     exits,
		},
	})
}

// noStop refuses scripts with testscript's own stop, behind which nothing
// would be run: terminate is what was meant.
func noStop(t *testing.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		script, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(script.Comment)) {
			if strings.TrimSpace(line) == "stop" {
				t.Errorf("%s: stop would end the script: use terminate to end the server", name)
			}
		}
	}
}

func setup(env *testscript.Env, bin string) error {
	for _, name := range []string{"PORT", "OPS"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		env.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	env.Setenv("URL", "https://127.0.0.1:"+env.Getenv("PORT"))
	env.Setenv("EFS_ROOT", filepath.Join(env.WorkDir, "efs"))
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config")) // remotes are each script's own
	env.Setenv("GORACE", os.Getenv("GORACE"))
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Values[serverKey{}] = &process{}
	env.Defer(func() { env.Values[serverKey{}].(*process).kill() })
	key, err := exec.Command(filepath.Join(bin, "efs-server"), "keygen").Output()
	if err != nil {
		return fmt.Errorf("efs-server keygen: %w", err)
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "starter.key"), key, 0o600)
}

type serverKey struct{}

// process is the server of a script, if one is running.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	exit chan error
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.exit
		p.cmd = nil
		_ = p.log.Close() // written by the process alone
	}
}

func start(ts *testscript.TestScript, neg bool, args []string, key bool) {
	p := ts.Value(serverKey{}).(*process)
	if neg || p.cmd != nil {
		ts.Fatalf("usage: serve|sealed [ARG…], while no server runs")
	}
	args = append([]string{"--listen", "127.0.0.1:" + ts.Getenv("PORT")}, args...)
	path := "/livez"
	if key {
		args = append(args, "--starter-key-file", ts.MkAbs("starter.key"))
		path = "/readyz"
	}
	log, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	bin, err := exec.LookPath(filepath.Join(firstOf(ts.Getenv("PATH")), "efs-server"))
	ts.Check(err)
	p.log, p.cmd, p.exit = log, exec.Command(bin, args...), make(chan error, 1)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, ts.MkAbs(".")
	p.cmd.Env = []string{"EFS_ROOT=" + ts.Getenv("EFS_ROOT"), "PATH=" + ts.Getenv("PATH")}
	if conf := ts.Getenv("SOFTHSM2_CONF"); conf != "" {
		p.cmd.Env = append(p.cmd.Env, "SOFTHSM2_CONF="+conf)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(p.cmd.Start())
	go func(cmd *exec.Cmd, exit chan error) { exit <- cmd.Wait() }(p.cmd, p.exit)
	if err := waitFor(ts.Getenv("URL")+path, http.StatusOK, p.exit); err != nil {
		text, _ := os.ReadFile(log.Name())
		ts.Fatalf("server: %v\n%s", err, text)
	}
}

func firstOf(list string) string { return filepath.SplitList(list)[0] }

func end(ts *testscript.TestScript, neg bool, args []string, sig syscall.Signal) {
	p := ts.Value(serverKey{}).(*process)
	if neg || len(args) > 0 || p.cmd == nil {
		ts.Fatalf("usage: terminate|crash, while a server runs")
	}
	ts.Check(p.cmd.Process.Signal(sig))
	var err error
	select {
	case err = <-p.exit:
	case <-time.After(stopLimit):
		ts.Fatalf("the server did not end within %s", stopLimit)
	}
	p.cmd = nil
	_ = p.log.Close() // written by the process alone
	if err != nil && sig != syscall.SIGKILL {
		text, _ := os.ReadFile(ts.MkAbs("server.log"))
		ts.Fatalf("the server ended: %v\n%s", err, text)
	}
}

func hangup(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(serverKey{}).(*process)
	if neg || len(args) > 0 || p.cmd == nil {
		ts.Fatalf("usage: hangup, while a server runs")
	}
	ts.Check(p.cmd.Process.Signal(syscall.SIGHUP))
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL CODE")
	}
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(waitFor(args[0], code, nil))
}

// waitFor asks until the answer has the status, or the process has ended.
func waitFor(url string, status int, ended chan error) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the question is only whether it answers
		DisableKeepAlives: true,
	}}
	last := errors.New("no answer")
	for stop := time.Now().Add(startLimit); time.Now().Before(stop); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err // for whoever waits for the end
			return fmt.Errorf("ended: %w", err)
		default:
		}
		resp, err := client.Get(url)
		if err != nil {
			last = err
			continue
		}
		_ = resp.Body.Close() // nothing is read of it
		if resp.StatusCode == status {
			return nil
		}
		last = fmt.Errorf("%s", resp.Status)
	}
	return fmt.Errorf("%s: not %d within %s: %w", url, status, startLimit, last)
}

// exits runs a command and looks at its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}
