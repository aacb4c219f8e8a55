package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/efs-project/efs/client"
)

const (
	fsName = "scale"
	user   = "scale"
)

// server is EFS as it is shipped, on a root of its own: started, stopped and
// killed again and again while the root grows.
type server struct {
	bin, dir string
	addr     string
	ops      string
	tls      *tls.Config
	head     string // of every request: the factors beside the certificate

	cmd  *exec.Cmd
	exit chan error
	mem  *gauge
	peak int64 // anonymous memory of all processes so far, bytes
}

func (s *server) root() string    { return filepath.Join(s.dir, "root") }
func (s *server) keyFile() string { return filepath.Join(s.dir, "starter.key") }
func (s *server) index() string   { return filepath.Join(s.root(), fsName, "system", "index.db") }
func (s *server) logFile() string { return filepath.Join(s.dir, "server.log") }
func (s *server) pid() int        { return s.cmd.Process.Pid }

// create makes the root, the file system and its user.
func (s *server) create(ctx context.Context) error {
	key, err := exec.Command(filepath.Join(s.bin, "efs-server"), "keygen").Output()
	if err != nil {
		return fmt.Errorf("efs-server keygen: %w", err)
	}
	if err := os.WriteFile(s.keyFile(), key, 0o600); err != nil {
		return err
	}
	if _, err := s.start(ctx); err != nil {
		return err
	}
	out := filepath.Join(s.dir, "user")
	for _, args := range [][]string{
		{"create-fs", fsName},
		{"create-user", user, "--fs", fsName, "--generate", "--out", out},
	} {
		cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "efsctl"), append([]string{"--root", s.root()}, args...)...)
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("efsctl %s: %w\n%s", args[0], err, msg)
		}
	}
	return nil
}

// start runs the server and returns how long it took from the start of the
// process until /readyz said that it serves.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	var err error
	if s.addr, err = freeAddr(); err != nil {
		return 0, err
	}
	if s.ops, err = freeAddr(); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.bin, "efs-server"), "--root", s.root(), "--listen", s.addr, "--ops-listen", s.ops, "--starter-key-file", s.keyFile())
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this program, which then ends it
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	s.exit = make(chan error, 1)
	go func(cmd *exec.Cmd, exit chan error) { exit <- cmd.Wait() }(s.cmd, s.exit)
	s.mem = watch(s.pid())
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	for time.Since(begun) < 2*time.Minute && ctx.Err() == nil {
		select {
		case err := <-s.exit:
			s.cmd = nil
			return 0, fmt.Errorf("efs-server ended: %v; its log:\n%s", err, s.tail())
		default:
		}
		if resp, err := c.Get("https://" + s.addr + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begun), nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0, fmt.Errorf("efs-server is not ready; its log:\n%s", s.tail())
}

// tail is the end of the server's log.
func (s *server) tail() string {
	b, _ := os.ReadFile(s.logFile())
	return string(b[max(0, len(b)-4096):])
}

// stop ends the server, in order or with SIGKILL, and waits for it. Without a
// server it does nothing.
func (s *server) stop(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	s.peak = max(s.peak, s.mem.peak.Load())
	s.mem.close()
	s.cmd.Process.Signal(sig)
	var err error
	select {
	case err = <-s.exit:
	case <-time.After(2 * time.Minute):
		s.cmd.Process.Kill()
		<-s.exit
		err = fmt.Errorf("did not stop within two minutes")
	}
	s.cmd = nil
	if err != nil && sig != syscall.SIGKILL {
		return fmt.Errorf("efs-server: %w; its log:\n%s", err, s.tail())
	}
	return nil
}

// login makes a session: certificate, password and token.
func (s *server) login(ctx context.Context) error {
	out := filepath.Join(s.dir, "user")
	cert, err := tls.LoadX509KeyPair(filepath.Join(out, "clientCert.crt"), filepath.Join(out, "clientCert.crt"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(out, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s.tls = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	signer, err := client.LoadKey(filepath.Join(out, "priv.pgp"), nil)
	if err != nil {
		return err
	}
	var hello struct{ Nonce, Message string }
	if err := s.post(ctx, "/auth/hello", map[string]string{"user": user}, &hello); err != nil {
		return err
	}
	sig, err := signer.Sign([]byte(hello.Message))
	if err != nil {
		return err
	}
	var session struct{ Token, Basic string }
	if err := s.post(ctx, "/auth/session", map[string]string{"user": user, "nonce": hello.Nonce, "signature": sig}, &session); err != nil {
		return err
	}
	s.head = "Host: " + s.addr + "\r\nAuthorization: Basic " + session.Basic + "\r\nEFS-Token: " + session.Token + "\r\n\r\n"
	return nil
}

func (s *server) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.addr+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	t := &http.Transport{TLSClientConfig: s.tls, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		msg, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", path, resp.Status, msg)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// dial opens an authenticated connection.
func (s *server) dial() (*conn, error) { return dial(s.addr, s.tls, s.head) }

// metric reads one number from the server's metrics.
func (s *server) metric(name string) (float64, error) {
	resp, err := http.Get("http://" + s.ops + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, name+`{fs="`+fsName+`"} `)
		if !ok {
			continue
		}
		var v float64
		_, err := fmt.Sscan(rest, &v)
		return v, err
	}
	return 0, fmt.Errorf("the server has no metric %s", name)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
