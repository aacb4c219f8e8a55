package mirror

import (
	"context"
	"errors"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/efstest"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

var (
	server            *efstest.Server
	keyFile, certFile string
	places            atomic.Int32
	failures          atomic.Int32 // told of while watching
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "efs-mirror")
	if err != nil {
		log.Fatal(err)
	}
	if server, err = efstest.Start(dir); err != nil {
		log.Fatal(err)
	}
	if keyFile, certFile, err = server.AddPGPUser(efstest.FS, "app1"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	if err := errors.Join(server.Stop(), os.RemoveAll(dir)); err != nil {
		log.Print(err)
		code = 1
	}
	os.Exit(code)
}

// drive returns a new directory in a file system.
func drive(t *testing.T) transfer.Place {
	t.Helper()
	signer, err := client.LoadKey(keyFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), client.Config{URL: server.URL, Signer: signer, CertFile: certFile, CAFile: server.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return transfer.Place{Client: c, Remote: "drive", Path: "/place-" + strconv.Itoa(int(places.Add(1)))}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// watching starts to watch, and returns what ends it.
func watching(t *testing.T, o Options) (stop func()) {
	t.Helper()
	o.Tell = func(ev Event) {
		t.Logf("%s %s %s %v", ev.Op, ev.Path, ev.Why, ev.Err)
		if ev.Err != nil {
			failures.Add(1)
		}
	}
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Watch(ctx) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watching ended with %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// comesTrue waits until check finds nothing wrong.
func comesTrue(t *testing.T, check func() string) {
	t.Helper()
	var wrong string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if wrong = check(); wrong == "" {
			return
		}
	}
	t.Fatal(wrong)
}

// fetched compares a local tree with a fresh copy of a remote one.
func fetched(t *testing.T, p transfer.Place, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	m, err := Open(Options{From: p, To: transfer.Place{Path: to}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := errors.Join(os.Mkdir(to, 0o700), m.Once(t.Context())); err != nil {
		return err.Error()
	}
	out, err := exec.Command("diff", "-r", "--no-dereference", dir, to).CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return ""
}

// TestWatchingALocalTree changes a tree at random while it is watched: in the
// end the other side has become the same.
func TestWatchingALocalTree(t *testing.T) {
	dir, p := t.TempDir(), drive(t)
	write(t, filepath.Join(dir, "at-first"), "x")
	stop := watching(t, Options{From: transfer.Place{Path: dir}, To: p, Delete: true})
	defer stop()
	comesTrue(t, func() string { return fetched(t, p, dir) })
	r := rand.New(rand.NewPCG(1, 2))
	any := func() string {
		segs := make([]string, 1+r.IntN(3))
		for i := range segs {
			segs[i] = "d" + strconv.Itoa(r.IntN(3))
		}
		return filepath.Join(dir, filepath.Join(segs...))
	}
	for round := range 3 {
		for range 40 {
			switch name := any(); r.IntN(4) {
			case 0:
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
			case 1:
				_ = os.Rename(name, any()) // what cannot be moved is not
			default:
				_ = os.MkdirAll(name, 0o700) // a file may be in the way
				_ = os.WriteFile(filepath.Join(name, "f"), []byte(strconv.Itoa(r.IntN(100))), 0o600)
			}
		}
		write(t, filepath.Join(dir, "round"), strings.Repeat("x", round))
		comesTrue(t, func() string { return fetched(t, p, dir) })
	}
}

func TestWatchingAFileSystem(t *testing.T) {
	dir, p := t.TempDir(), drive(t)
	ctx, c := t.Context(), p.Client
	put := func(path, text string) {
		t.Helper()
		if _, err := c.Put(ctx, p.Path+path, strings.NewReader(text), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("/at-first", "x")
	put("/left-out/secret", "x")
	var filter treesync.Filter
	if err := filter.Add("/left-out/"); err != nil {
		t.Fatal(err)
	}
	stop := watching(t, Options{From: p, To: transfer.Place{Path: dir}, Delete: true, Filter: &filter})
	defer stop()
	holds := func(path, want string) {
		t.Helper()
		comesTrue(t, func() string {
			b, err := os.ReadFile(filepath.Join(dir, path))
			if want == "" && errors.Is(err, os.ErrNotExist) || err == nil && want != "" && string(b) == want {
				return ""
			}
			return path + ": " + string(b) + ", want " + want
		})
	}
	holds("at-first", "x")
	put("/at-first", "y")
	put("/deep/er/file", "1")
	put("/left-out/more", "x")
	holds("at-first", "y")
	holds("deep/er/file", "1")
	if err := c.Move(ctx, p.Path+"/deep", p.Path+"/moved", client.MoveOptions{}); err != nil {
		t.Fatal(err)
	}
	holds("moved/er/file", "1")
	holds("deep/er/file", "")
	if err := c.RemoveAll(ctx, p.Path+"/moved"); err != nil {
		t.Fatal(err)
	}
	holds("moved/er/file", "")
	if _, err := os.Stat(filepath.Join(dir, "left-out")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is left out came along: %v", err)
	}
}

func TestWatchingEndsWhereThereIsNothingToWatch(t *testing.T) {
	m, err := Open(Options{From: transfer.Place{Path: filepath.Join(t.TempDir(), "none")}, To: drive(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Watch(t.Context()); !errors.Is(err, errNotThere) {
		t.Errorf("watching what is not there: %v", err)
	}
}

// TestWatchingOutlastsTheServer: what changes while the server is away follows
// when it is back, in either direction.
func TestWatchingOutlastsTheServer(t *testing.T) {
	up, down, p := t.TempDir(), t.TempDir(), drive(t)
	write(t, filepath.Join(up, "a"), "x")
	stopUp := watching(t, Options{From: transfer.Place{Path: up}, To: p})
	defer stopUp()
	comesTrue(t, func() string { return fetched(t, p, up) })
	stopDown := watching(t, Options{From: p, To: transfer.Place{Path: down}})
	defer stopDown()
	same := func() string {
		out, err := exec.Command("diff", "-r", up, down).CombinedOutput()
		if err != nil {
			return string(out)
		}
		return ""
	}
	comesTrue(t, same)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	before := failures.Load()
	write(t, filepath.Join(up, "new", "b"), "y")
	comesTrue(t, func() string {
		if failures.Load() == before {
			return "nobody has noticed that the server is away"
		}
		return ""
	})
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	comesTrue(t, same)
}

// TestALostNotificationComparesEverything: the system had more to tell than it
// could hold.
func TestALostNotificationComparesEverything(t *testing.T) {
	dir := t.TempDir()
	l, err := openLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	w, err := watchLocal(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.(*localWatcher).w.Errors <- fsnotify.ErrEventOverflow
	if d := <-w.events(); !d.all {
		t.Errorf("told to look at %+v", d)
	}
	w.close()
	if _, more := <-w.events(); more || w.err() != nil {
		t.Errorf("after its end: %v, %v", more, w.err())
	}
}
