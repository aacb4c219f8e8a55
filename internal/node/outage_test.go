package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// line is a KMS whose line can be cut.
type line struct {
	efs.KMS
	cut atomic.Bool
}

func (l *line) Name() string { return "other" }

func (l *line) down() error {
	if l.cut.Load() {
		return fmt.Errorf("%w: connection refused", efs.ErrUnavailable)
	}
	return nil
}

func (l *line) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if err := l.down(); err != nil {
		return nil, err
	}
	return l.KMS.Wrap(ctx, id, key, b)
}

func (l *line) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	if err := l.down(); err != nil {
		return nil, err
	}
	return l.KMS.Unwrap(ctx, id, wrapped, b)
}

func (l *line) Ready(context.Context) error { return l.down() }

// remoteRig opens nodes with a file system "remote-data" whose keys are of a
// KMS at the other end of a line.
func remoteRig(t *testing.T, c KMSConfig) (remote *line, open func() *Node) {
	t.Helper()
	ctx := context.Background()
	r := newRig(t)
	remote = &line{KMS: newKMS(t)}
	if _, err := remote.CreateKey(ctx, "k", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	open = func() *Node {
		cfg := r.config()
		cfg.Key, cfg.Providers, cfg.KMS = r.found(), map[string]efs.KMS{"other": remote}, c
		return r.openWith(cfg)
	}
	n := open()
	f := mustCreate(t, n, "remote-data")
	stages := []efs.StagePolicy{{Algorithm: efs.AES256, Provider: "other", KeyID: "k"}}
	if _, err := f.parts.keys.Restage(ctx, stages); err != nil {
		t.Fatal(err)
	}
	if err := put(f, "a", "hello"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, n, "local-data")
	closeNode(t, n)
	return remote, open
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s did not come about", what)
}

// A KMS that is away when the server starts keeps its file systems closed and
// no others, is told as the reason, and they open when it answers, without
// another start.
func TestKMSAwayAtStart(t *testing.T) {
	remote, open := remoteRig(t, KMSConfig{})
	remote.cut.Store(true)
	n := open()
	if err := put(must(n.FS("local-data")), "a", "hello"); err != nil {
		t.Errorf("a file system of another KMS: %v", err)
	}
	_, err := n.FS("remote-data")
	wantError(t, "at start", err, efs.ErrUnavailable)
	if _, reasons := n.Ready(); !strings.Contains(strings.Join(reasons, "\n"), "KMS other: ") {
		t.Errorf("reasons %q", reasons)
	}
	if s := n.KMSStatus(context.Background()); !s[0].Ready || s[1].Ready || s[1].Error == "" {
		t.Errorf("status %+v", s)
	}
	remote.cut.Store(false)
	eventually(t, "opening the file system", func() bool { _, err := n.FS("remote-data"); return err == nil })
	if got, err := read(must(n.FS("remote-data")), "a"); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if ok, reasons := n.Ready(); !ok || len(reasons) > 0 {
		t.Errorf("ready %v %q", ok, reasons)
	}
}

// A KMS that goes away takes its file systems with it when the lifetime of
// their keys is over; they come back with it.
func TestKMSGoesAway(t *testing.T) {
	remote, open := remoteRig(t, KMSConfig{KeyTTL: 100 * time.Millisecond})
	n := open()
	f := must(n.FS("remote-data"))
	remote.cut.Store(true)
	eventually(t, "the end of the keys", func() bool { return errors.Is(put(f, "b", "more"), efs.ErrUnavailable) })
	if ok, reasons := n.Ready(); !ok || !strings.Contains(strings.Join(reasons, "\n"), "KMS other: ") {
		t.Errorf("another file system serves: ready %v %q", ok, reasons)
	}
	if err := put(must(n.FS("local-data")), "b", "more"); err != nil {
		t.Errorf("a file system of another KMS: %v", err)
	}
	remote.cut.Store(false)
	eventually(t, "writing again", func() bool { return put(f, "c", "more") == nil })
	if got, err := read(f, "a"); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// Observers of the calls of KMSs are told whose they are.
func TestKMSObserver(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	_, open := remoteRig(t, KMSConfig{Observe: func(provider, op, outcome string, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		told[provider+" "+op+" "+outcome]++
	}})
	open()
	mu.Lock()
	defer mu.Unlock()
	if told["other wrap ok"] == 0 || told["other unwrap ok"] == 0 || told["local unwrap ok"] == 0 {
		t.Errorf("told %v", told)
	}
}

func TestNoProviderIsCalledLocal(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Key, cfg.Providers = r.found(), map[string]efs.KMS{"local": newKMS(t)}
	_, err := New(context.Background(), cfg)
	wantError(t, "a provider called local", err, efs.ErrBadInput)
}
