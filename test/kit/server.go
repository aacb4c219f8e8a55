package kit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
)

// FS and User are what New creates.
const (
	FS   = "user-data"
	User = "app1"
)

// Server is an EFS server process and what is needed to use it.
type Server struct {
	Root    string // of the server
	KeyFile string // the starter key, outside the root
	URL     string
	Out     string // the user's clientCert.crt, ca.crt, priv.pgp
	Args    []string

	t    testing.TB
	bin  string // where its binary lies, if not with the others
	cmd  *exec.Cmd
	log  syncBuffer
	exit chan error
}

// New starts a server on an empty root with the file system FS and its User.
// It is stopped when the test ends.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	return NewAt(t, filepath.Join(t.TempDir(), "efs"), args...)
}

// NewAt is New on a root of the caller's choice.
func NewAt(t testing.TB, root string, args ...string) *Server {
	t.Helper()
	return newServer(t, root, "", args)
}

// NewShipped is New with the binary as it is shipped, without the race
// detector.
func NewShipped(t testing.TB, args ...string) *Server {
	t.Helper()
	dir, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	return newServer(t, filepath.Join(t.TempDir(), "efs"), dir, args)
}

// NewDumpable is New with a binary that lets its memory be read, which those
// that are shipped forbid.
func NewDumpable(t testing.TB, args ...string) *Server {
	t.Helper()
	dir, err := dumpable()
	if err != nil {
		t.Fatal(err)
	}
	return newServer(t, filepath.Join(t.TempDir(), "efs"), dir, args)
}

func newServer(t testing.TB, root, bin string, args []string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{Root: root, KeyFile: filepath.Join(dir, "starter.key"), Out: filepath.Join(dir, "user"), Args: args, t: t, bin: bin}
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.WriteFile(s.KeyFile, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		if s.Running() {
			s.Stop()
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
	})
	s.Ctl("create-fs", FS)
	s.Ctl("create-user", User, "--fs", FS, "--generate", "--out", s.Out)
	return s
}

// Start starts the process and waits until it is ready.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.TryStart(); err != nil {
		s.t.Fatalf("starting the server: %v\n%s", err, s.Log())
	}
}

// TryStart is Start for servers that may refuse to start.
func (s *Server) TryStart() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	l.Close()
	args := append([]string{"--root", s.Root, "--listen", addr, "--starter-key-file", s.KeyFile}, s.Args...)
	s.cmd = exec.Command(s.binary("efs-server"), args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.URL = "https://" + addr
	s.exit = make(chan error, 1)
	go func(cmd *exec.Cmd, exit chan error) { exit <- cmd.Wait() }(s.cmd, s.exit)
	return s.waitReady(30 * time.Second)
}

func (s *Server) waitReady(limit time.Duration) error {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-s.exit:
			s.cmd = nil
			return fmt.Errorf("exited: %v", err)
		default:
		}
		if resp, err := c.Get(s.URL + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return fmt.Errorf("not ready after %s", limit)
}

func (s *Server) binary(name string) string {
	if s.bin != "" {
		return filepath.Join(s.bin, name)
	}
	return Bin(s.t, name)
}

// Running reports whether the process was started and not ended by the test.
func (s *Server) Running() bool { return s.cmd != nil }

// PID is the process id of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the process with SIGKILL.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.exit
	s.cmd = nil
}

// Stop asks the process to end and waits for it.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exit:
		if err != nil {
			s.t.Errorf("server ended: %v", err)
		}
	case <-time.After(60 * time.Second):
		s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.exit
		s.t.Errorf("server did not stop within a minute of SIGTERM")
	}
	s.cmd = nil
}

// Log returns what the server has printed so far.
func (s *Server) Log() string { return s.log.String() }

// TryCtl runs efsctl on this server and returns its output, both streams
// together.
func (s *Server) TryCtl(args ...string) (string, error) {
	cmd := exec.Command(s.binary("efsctl"), append([]string{"--root", s.Root}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Ctl is TryCtl where failure fails the test.
func (s *Server) Ctl(args ...string) string {
	s.t.Helper()
	out, err := s.TryCtl(args...)
	if err != nil {
		s.t.Fatalf("efsctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Config is how a Go client reaches the server as User.
func (s *Server) Config() client.Config {
	s.t.Helper()
	signer, err := client.LoadKey(filepath.Join(s.Out, "priv.pgp"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return client.Config{
		URL: s.URL, Signer: signer, Retries: -1, // a test wants to see every failure
		CertFile: filepath.Join(s.Out, "clientCert.crt"), CAFile: filepath.Join(s.Out, "ca.crt"),
	}
}

// Client dials the server as User.
func (s *Server) Client() *client.Client {
	s.t.Helper()
	c, err := s.TryClient()
	if err != nil {
		s.t.Fatalf("dialling: %v\n%s", err, s.Log())
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// TryClient is Client for servers that may refuse.
func (s *Server) TryClient() (*client.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return client.Dial(ctx, s.Config())
}

// Pattern returns n bytes that depend on seed and do not compress.
func Pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(slices.Clone(b.b.Bytes()))
}
