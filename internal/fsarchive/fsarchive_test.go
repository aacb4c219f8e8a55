package fsarchive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/starter"
)

var ctx = context.Background()

// newFS makes a file system on a real index and volume.
func newFS(t *testing.T) *fsys.FS { return newFSWith(t, efs.DefaultPolicy()) }

func newFSWith(t *testing.T, policy efs.Policy) *fsys.FS {
	t.Helper()
	_, key, err := starter.Generate()
	must(t, err)
	n, err := node.New(ctx, node.Config{Root: t.TempDir(), Key: &starter.Found{Key: key, From: "test"}, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	must(t, n.CreateFSWith(ctx, "drive", policy, nil))
	f, err := n.FS("drive")
	must(t, err)
	return f.FS
}

// fatal is a test, or a check of rapid's.
type fatal interface {
	Helper()
	Fatal(...any)
}

func must(t fatal, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is what an archive restores: path → what is there.
type tree map[string]string

// put takes over an archive, as whoever restores it does.
func (tr tree) put(r io.Reader) (archive.Info, error) {
	a, err := archive.OpenTar(r)
	if err != nil {
		return archive.Info{}, err
	}
	last := ""
	for {
		m, err := a.Next()
		if err == io.EOF {
			return a.Info(), nil
		}
		if err != nil {
			return archive.Info{}, err
		}
		if m.Removed {
			if err := a.EachRemoved(func(p string) error { tr.remove(p); return nil }); err != nil {
				return archive.Info{}, err
			}
			continue
		}
		if key := sortKey(m); key <= last {
			return archive.Info{}, fmt.Errorf("%q comes after %q", m.Name, last)
		} else {
			last = key
		}
		if dir := path.Dir(m.Name); dir != "." && !strings.HasPrefix(tr[dir], "directory") {
			return archive.Info{}, fmt.Errorf("%q comes before its directory", m.Name)
		}
		data, err := io.ReadAll(a)
		if err != nil {
			return archive.Info{}, err
		}
		tr[m.Name] = fmt.Sprintf("%v %o %v %s %v %q %s %x", m.Kind, m.Mode, m.Modified, m.Type, m.Meta, m.Target, m.SHA256, data)
		if m.Kind == efs.KindDir {
			tr[m.Name] = fmt.Sprintf("directory %o %v %v", m.Mode, m.Modified, m.Meta)
		}
	}
}

func sortKey(m *archive.Member) string {
	if m.Kind == efs.KindDir {
		return m.Name + "/"
	}
	return m.Name
}

func (tr tree) remove(p string) {
	for k := range tr {
		if p == "." || k == p || strings.HasPrefix(k, p+"/") {
			delete(tr, k)
		}
	}
}

// archiveOf makes an archive's tar.
func archiveOf(t fatal, fs *fsys.FS, o Options) ([]byte, error) {
	t.Helper()
	v, err := fs.Snapshot(ctx, "test")
	must(t, err)
	defer v.Close()
	a, err := Prepare(ctx, Source{fs.Name(), fs.ID(), v, fs}, o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	must(t, a.Write(ctx, &b, time.Now()))
	return b.Bytes(), nil
}

// TestAChainOfArchivesRestoresTheLast: a full archive and what is incremental
// upon it restore what a full archive made last restores, whatever was done
// in between.
func TestAChainOfArchivesRestoresTheLast(t *testing.T) {
	fs := newFS(t)
	rapid.Check(t, func(t *rapid.T) {
		if err := fs.Remove(ctx, "top", fsys.RemoveOptions{Recursive: true}); err != nil && !errors.Is(err, efs.ErrNotFound) {
			t.Fatal(err)
		}
		root := rapid.SampledFrom([]string{"", "top", "top/a", "top/a/b"}).Draw(t, "root")
		change(t, fs, 10)
		chain, since := tree{}, uint64(0)
		for range rapid.IntRange(1, 4).Draw(t, "archives") {
			b, err := archiveOf(t, fs, Options{Path: root, Since: since})
			if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrNotDir) { // the root of it is gone: nothing to be archived
				change(t, fs, 10)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := chain.put(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			since = info.Sequence
			full := tree{}
			if b, err = archiveOf(t, fs, Options{Path: root}); err != nil {
				t.Fatal(err)
			}
			if _, err := full.put(bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(chain, full) {
				t.Fatalf("up to %d the chain restores\n%v\nthe full archive\n%v", since, chain, full)
			}
			change(t, fs, 15)
		}
	})
}

// change does up to n random things below top.
func change(t *rapid.T, fs *fsys.FS, n int) {
	segment := rapid.SampledFrom([]string{"a", "b", "a.x"})
	place := rapid.Custom(func(t *rapid.T) string {
		return "top/" + strings.Join(rapid.SliceOfN(segment, 1, 3).Draw(t, "path"), "/")
	})
	for range rapid.IntRange(0, n).Draw(t, "changes") {
		p, q := place.Draw(t, "p"), place.Draw(t, "q")
		var err error
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0, 1, 2:
			_, err = fs.Put(ctx, p, strings.NewReader(rapid.StringN(0, 20, 40).Draw(t, "data")), fsys.PutOptions{Size: -1, Mode: 0o600})
		case 3:
			_, err = fs.Mkdir(ctx, p, fsys.MkdirOptions{Parents: true})
		case 4:
			err = fs.Remove(ctx, p, fsys.RemoveOptions{Recursive: true})
		case 5, 6:
			_, err = fs.Move(ctx, p, q, fsys.MoveOptions{Overwrite: true})
		case 7:
			_, err = fs.Copy(ctx, p, q, fsys.CopyOptions{Overwrite: true})
		case 9:
			_, err = fs.Symlink(ctx, p, "../"+q, fsys.PutOptions{})
		case 8:
			typ := "text/x-" + rapid.StringMatching("[a-z]{1,3}").Draw(t, "type")
			_, err = fs.Patch(ctx, p, fsys.PatchOptions{Type: &typ})
		}
		for _, fine := range []error{efs.ErrNotFound, efs.ErrExists, efs.ErrNotDir, efs.ErrIsDir, efs.ErrNotEmpty, efs.ErrBadInput, efs.ErrBadPath, efs.ErrConflict} {
			if errors.Is(err, fine) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnArchiveIsOneMomentUnderWriters: what an archive holds, made while
// clients write, rename and delete, is what replaying the change log up to its
// sequence number gives.
func TestAnArchiveIsOneMomentUnderWriters(t *testing.T) {
	fs := newFS(t)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				p := fmt.Sprintf("w%d/%d/%d", w, rnd.IntN(3), rnd.IntN(10))
				var err error
				switch rnd.IntN(6) {
				case 0:
					err = fs.Remove(ctx, p, fsys.RemoveOptions{})
				case 1:
					_, err = fs.Move(ctx, p, p+"m", fsys.MoveOptions{Overwrite: true})
				case 2:
					_, err = fs.Move(ctx, path.Dir(p), fmt.Sprintf("w%d/dir-%d", w, rnd.IntN(5)), fsys.MoveOptions{})
				case 3:
					err = fs.Remove(ctx, fmt.Sprintf("w%d/dir-%d", w, rnd.IntN(5)), fsys.RemoveOptions{Recursive: true})
				default:
					data := bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(40000))
					_, err = fs.Put(ctx, p, bytes.NewReader(data), fsys.PutOptions{Size: int64(len(data))})
				}
				if err != nil && !errors.Is(err, efs.ErrNotFound) && !errors.Is(err, efs.ErrExists) {
					t.Error(err)
					return
				}
			}
		})
	}
	type made struct {
		info archive.Info
		got  tree
	}
	var all []made
	chain := tree{}
	for range 8 {
		time.Sleep(50 * time.Millisecond)
		full := tree{}
		b, err := archiveOf(t, fs, Options{})
		must(t, err)
		info, err := full.put(bytes.NewReader(b))
		must(t, err)
		all = append(all, made{info, full})
	}
	since := uint64(0)
	for range 5 {
		b, err := archiveOf(t, fs, Options{Since: since})
		must(t, err)
		info, err := chain.put(bytes.NewReader(b))
		must(t, err)
		since = info.Sequence
		all = append(all, made{info, maps.Clone(chain)})
	}
	close(stop)
	writers.Wait()
	state, at := map[string]string{}, uint64(0)
	for _, m := range all {
		for at < m.info.Sequence {
			page, err := fs.Changes(ctx, at, int(min(m.info.Sequence-at, 500)))
			must(t, err)
			for i := range page {
				replay(state, &page[i])
				at = page[i].Seq
			}
		}
		checkState(t, m.info.Sequence, m.got, state)
	}
}

// replay carries a change out on path → digest of what lies there.
func replay(state map[string]string, c *efs.Change) {
	switch c.Op {
	case efs.OpAccess:
	case efs.OpDelete, efs.OpDeleteTree:
		tree(state).remove(c.Path)
	case efs.OpMove:
		delete(state, c.Path)
		for k, v := range maps.Clone(state) {
			if rest, in := below(k, c.From); in {
				delete(state, k)
				state[strings.TrimSuffix(c.Path+"/"+rest, "/")] = v
			}
		}
	default:
		state[c.Path] = fmt.Sprintf("%v %x", c.After.Kind, c.After.Digest)
	}
}

func checkState(t *testing.T, seq uint64, got tree, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("change %d: the archive has %d members, the log gives %d", seq, len(got), len(want))
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		kind, digest, _ := strings.Cut(want[p], " ")
		if !strings.HasPrefix(got[p], kind+" ") || !strings.Contains(got[p], digest) {
			t.Errorf("change %d: '%s' is %.80q in the archive, %q in the log", seq, p, got[p], want[p])
		}
	}
}

func TestWhatCannotBeToldNeedsAFullArchive(t *testing.T) {
	fs := newFS(t)
	_, err := fs.Put(ctx, "x", strings.NewReader("x"), fsys.PutOptions{Size: 1})
	must(t, err)
	if _, err := archiveOf(t, fs, Options{Since: 1000}); !errors.Is(err, efs.ErrBadInput) {
		t.Error("a change to come:", err)
	}
	if _, err := archiveOf(t, fs, Options{Path: "nothing"}); !errors.Is(err, efs.ErrNotFound) {
		t.Error("nothing there:", err)
	}
	for what, log := range map[string]Log{
		"cut":       logOf(func() ([]efs.Change, error) { return nil, efs.ErrLogTruncated }),
		"forgotten": logOf(func() ([]efs.Change, error) { return []efs.Change{{Seq: 2, Op: efs.OpForgotten}}, nil }),
	} {
		if _, err := readDelta(ctx, log, "", 1, 3); !errors.Is(err, ErrNeedsFull) {
			t.Errorf("%s: %v", what, err)
		}
	}
	n := uint64(1)
	many := logOf(func() ([]efs.Change, error) {
		page := make([]efs.Change, 500)
		for i := range page {
			n++
			page[i] = efs.Change{Seq: n, Op: efs.OpDelete, Path: fmt.Sprintf("%0200d", n)}
		}
		return page, nil
	})
	if _, err := readDelta(ctx, many, "", 1, 1<<40); !errors.Is(err, ErrNeedsFull) {
		t.Error("too much:", err)
	}
}

type logOf func() ([]efs.Change, error)

func (l logOf) Changes(context.Context, uint64, int) ([]efs.Change, error) { return l() }

// TestWhatIsForgottenIsInNoArchive: a unit that is forgotten is left out of the
// next archive; what was changed in it since cannot be told any more.
func TestWhatIsForgottenIsInNoArchive(t *testing.T) {
	policy := efs.DefaultPolicy()
	policy.ErasureUnit = "/patients/*"
	fs := newFSWith(t, policy)
	for _, p := range []string{"patients/1/large", "patients/1/small", "patients/2/small"} {
		_, err := fs.Put(ctx, p, bytes.NewReader(make([]byte, 100+100_000*strings.Count(p, "large"))), fsys.PutOptions{Size: -1})
		must(t, err)
	}
	read := func(o Options) (tree, uint64) {
		t.Helper()
		b, err := archiveOf(t, fs, o)
		must(t, err)
		got := tree{}
		info, err := got.put(bytes.NewReader(b))
		must(t, err)
		return got, info.Sequence
	}
	before, seq := read(Options{})
	if len(before) != 6 {
		t.Fatal(slices.Collect(maps.Keys(before)))
	}
	v, err := fs.Snapshot(ctx, "test") // of an archive that is under way
	must(t, err)
	defer v.Close()
	_, err = fs.Put(ctx, "patients/1/later", strings.NewReader("x"), fsys.PutOptions{Size: 1})
	must(t, err)
	_, err = fs.Forget(ctx, fsys.Who{User: "test"}, "patients/1", "asked for")
	must(t, err)
	want := []string{"patients", "patients/2", "patients/2/small"}
	if got, _ := read(Options{}); !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Error("the next archive has", slices.Sorted(maps.Keys(got)))
	}
	if _, err := archiveOf(t, fs, Options{Since: seq}); !errors.Is(err, ErrNeedsFull) {
		t.Error("an incremental one:", err)
	}
	a, err := Prepare(ctx, Source{fs.Name(), fs.ID(), v, fs}, Options{})
	must(t, err)
	var b bytes.Buffer
	must(t, a.Write(ctx, &b, time.Now()))
	got := tree{}
	_, err = got.put(&b)
	must(t, err)
	for p := range got {
		if strings.HasPrefix(p, "patients/1/") {
			t.Error("the archive under way has", p)
		}
	}
}
