package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// serveRoot runs a node with its admin socket on root until the test ends or
// the returned function is called.
func serveRoot(t *testing.T, root string) (stop func()) {
	t.Helper()
	key, err := secret.RandomKey()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	n, err := node.New(context.Background(), node.Config{Root: root, Key: &starter.Found{Key: key, From: "test"}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(n, root, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, n.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// A root deeper than what fits into a socket's address works like any other.
func TestLongPath(t *testing.T) {
	root := filepath.Join(t.TempDir(), strings.Repeat("long/", 30), "efs")
	if len(SocketPath(root)) <= maxSocketPath {
		t.Fatalf("path of %d bytes is not long", len(SocketPath(root)))
	}
	stop := serveRoot(t, root)
	c := NewClient(root)
	var lines []string
	c.Line = func(l string) { lines = append(lines, l) }
	if err := c.CreateFS(context.Background(), "user-data"); err != nil {
		t.Fatal(err)
	}
	if len(lines) < 5 || lines[0] != fmt.Sprintf("Creating '%s'", filepath.Join(root, "user-data")) {
		t.Errorf("lines %q", lines)
	}
	info, err := os.Lstat(SocketPath(root))
	if err != nil || info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	stop()
	if _, err := os.Lstat(SocketPath(root)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	_, err = c.Status(context.Background())
	if !errors.Is(err, ErrNoServer) {
		t.Errorf("without a server: %v", err)
	}
}

// The kind of a failure survives the socket.
func TestErrorKinds(t *testing.T) {
	root := filepath.Join(t.TempDir(), "efs")
	serveRoot(t, root)
	ctx := context.Background()
	c := NewClient(root)
	if err := c.CreateFS(ctx, "user-data"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"again", c.CreateFS(ctx, "user-data"), efs.ErrExists},
		{"bad name", c.CreateFS(ctx, "No"), efs.ErrBadInput},
		{"delete", c.DeleteFS(ctx, "nowhere"), efs.ErrNotFound},
		{"unseal", second(c.Unseal(ctx, AsKey, []byte("x"))), efs.ErrRefused},
		{"user", c.Revoke(ctx, "user-data", "nobody"), efs.ErrNotFound},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.err, tt.want)
		}
	}
	for name, kind := range kinds {
		f := failure(fmt.Errorf("doing it: %w", kind))
		if f.Kind != name || !errors.Is(f, kind) {
			t.Errorf("%s became %q", name, f.Kind)
		}
	}
}

// Requests that are not understood change nothing and are told so.
func TestBadRequests(t *testing.T) {
	root := filepath.Join(t.TempDir(), "efs")
	serveRoot(t, root)
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, SocketPath(root)) },
		DisableKeepAlives: true,
	}}
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/nonsense", "{}", 404},
		{"POST", "/create-fs", "{}", 404},
		{"GET", "/v1/status", "", 405},
		{"POST", "/v1/create-fs", strings.Repeat("x", maxRequest+1), 413},
		{"POST", "/v1/create-fs", `{"fs":"user-data","policy":"none"}`, 200},
		{"POST", "/v1/create-fs", `{`, 200},
	} {
		req, err := http.NewRequest(tt.method, "http://efs"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %s", tt.method, tt.path, resp.Status)
		}
		if tt.status == 200 {
			var e Event
			if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == nil || e.Error.Kind != "bad-input" {
				t.Errorf("%s %s: %+v, %v", tt.path, tt.body, e, err)
			}
		}
	}
	if list, err := NewClient(root).ListFS(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// An answer that breaks off is an error, whatever came before.
func TestCutAnswer(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, ".server"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := listen(SocketPath(root))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return // the test has ended
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			t.Error(err)
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"line\":\"Creating\"}\n")
	}()
	c := NewClient(root)
	lines := 0
	c.Line = func(string) { lines++ }
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.CreateFS(ctx, "user-data"); err == nil || !strings.Contains(err.Error(), "before it was done") {
		t.Errorf("error %v", err)
	}
	if lines != 1 {
		t.Errorf("%d lines", lines)
	}
}

// second is the error of a call that also has a result.
func second[T any](_ T, err error) error { return err }
