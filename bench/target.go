package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A Target is a server under measurement. All are driven by the same bare
// HTTP/1.1 requests over TLS, so that what differs is the server.
type Target interface {
	Name() string
	// Start runs the server with its data in dir and returns when it serves.
	Start(ctx context.Context, dir string) error
	// Request makes an authenticated request for a stored object.
	Request(method, key string, body []byte) (*http.Request, error)
	TLS() *tls.Config
	PID() int
	Stop()
}

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
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
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
		p.cmd.Process.Kill()
		<-done
	}
}

// waitFor asks url until it answers with less than 500, or says what the
// server's log holds.
func (p *process) waitFor(ctx context.Context, cfg *tls.Config, url string) error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}, Timeout: 2 * time.Second}
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

func newRequest(method, url string, body []byte) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	return http.NewRequest(method, url, r)
}
