package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server process whose output goes to a file beside its data.
type process struct {
	cmd *exec.Cmd
	log string
}

func (p *process) start(dir, name string, env []string, bin string, args ...string) error {
	p.log = filepath.Join(dir, name+".log")
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd = exec.Command(bin, args...)
	// What tunes a Go program here is not meant for the servers.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GOMAXPROCS=") || strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=")
	})
	p.cmd.Env = append(own, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// In a group of its own, Ctrl-C reaches it through Stop only; and it ends
	// should this process be killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return p.cmd.Start()
}

func (p *process) PID() int { return p.cmd.Process.Pid }

func (p *process) Stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
	p.cmd = nil
}

// waitFor asks url until it answers with less than 500, or says what the
// server's log holds.
func (p *process) waitFor(ctx context.Context, cfg *tls.Config, url string) error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}, Timeout: 2 * time.Second}
	defer c.CloseIdleConnections()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := c.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	log, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s does not answer; its log:\n%s", url, log)
}

// freePort returns a loopback port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// cpuTime returns how long a process and its children have computed, in user
// and kernel mode (proc_pid_stat(5): utime and stime, in ticks of 10 ms).
func cpuTime(pid int) time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	var ticks int64
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		id, rest, _ := strings.Cut(string(b), " ")
		f := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:])
		if id != strconv.Itoa(pid) && f[1] != strconv.Itoa(pid) {
			continue
		}
		for _, s := range f[11:13] {
			n, _ := strconv.ParseInt(s, 10, 64) // the kernel writes numbers
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ownCPU returns how long this process has computed.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
