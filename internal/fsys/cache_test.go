package fsys

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/contentcache"
)

// refusable are keys that a KMS can refuse.
type refusable struct {
	Keys
	refused atomic.Bool
}

func (k *refusable) Live() error {
	if k.refused.Load() {
		return efs.ErrRefused
	}
	return k.Keys.Live()
}

// withCache gives a file system a cache for files up to blobSize.
func withCache(t *testing.T, adjust ...func(*env)) (e *env, c *contentcache.Cache, keys *refusable) {
	t.Helper()
	c, err := contentcache.Open(contentcache.Options{
		Size: 1 << 20, MaxFile: blobSize, Where: contentcache.Memory, TTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	keys = &refusable{}
	e = newEnv(t, append(adjust, func(e *env) {
		before := e.wrap
		e.wrap = func(o *Options) {
			if before != nil {
				before(o)
			}
			keys.Keys = o.Keys
			o.Keys, o.Cache = keys, c.For(o.ID, keys.Live)
		}
	})...)
	return e, c, keys
}

func (e *env) kept(c *contentcache.Cache, files int) {
	e.t.Helper()
	if s := c.Stats(); s.Files != files {
		e.t.Errorf("%d files are kept, not %d", s.Files, files)
	}
}

// What was read is read again without its sealed file, and in ranges too.
func TestCacheServesWhatWasRead(t *testing.T) {
	e, c, _ := withCache(t)
	small, large := data(1, inlineSize), data(2, blobSize)
	s, l := e.put("small", small), e.put("large", large)
	e.kept(c, 0)
	e.holds("small", small)
	e.holds("large", large)
	e.kept(c, 2)
	e.idle() // the blob lies in its place
	e.check(os.Remove(e.blobFile(l.Entry.Extents[0].Content)))
	e.alter(inlineKey(s.Entry.Extents[0].Content), nil)
	e.holds("small", small)
	e.holds("large", large)
	f, err := e.Open(ctx, "large")
	e.check(err)
	defer f.Close()
	var b bytes.Buffer
	if err := f.WriteRange(&b, 4000, 10_000); err != nil || !bytes.Equal(b.Bytes(), large[4000:14_000]) {
		t.Errorf("a range: %d bytes, %v", b.Len(), err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(f, 100, blobSize)); err != nil || !bytes.Equal(got, large[100:]) {
		t.Errorf("a section: %d bytes, %v", len(got), err)
	}
	if s := c.Stats(); s.Hits != 3 {
		t.Errorf("%+v", s)
	}
}

// Neither ranges, nor what is too long, nor copies and checks fill it.
func TestWhatIsNotCached(t *testing.T) {
	e, c, _ := withCache(t)
	e.put("large", data(1, blobSize))
	e.put("longer", data(2, blobSize+1))
	e.put("empty", nil)
	f, err := e.Open(ctx, "large")
	e.check(err)
	e.check(f.WriteRange(io.Discard, 10, 20))
	e.check(f.Close())
	e.holds("longer", data(2, blobSize+1))
	e.holds("empty", nil)
	_, err = e.Copy(ctx, "large", "copy", CopyOptions{})
	e.check(err)
	e.clean()
	e.kept(c, 0)
}

// A check reads what is on the volume, whatever is in the cache.
func TestFsckIsNotDeceivedByTheCache(t *testing.T) {
	e, c, _ := withCache(t)
	l := e.put("large", data(1, blobSize))
	e.holds("large", data(1, blobSize))
	e.kept(c, 1)
	e.idle()
	e.check(os.Remove(e.blobFile(l.Entry.Extents[0].Content)))
	r, err := e.Fsck(ctx, FsckOptions{Deep: true})
	e.check(err)
	if len(r.Problems) == 0 {
		t.Error("fsck found nothing")
	}
}

// What is replaced or deleted is dropped at once, and again if somebody still
// read it.
func TestCacheDropsWhatIsGone(t *testing.T) {
	for name, gone := range map[string]func(e *env){
		"replaced": func(e *env) { e.put("d/f", data(9, inlineSize)) },
		"removed":  func(e *env) { e.check(e.Remove(ctx, "d/f", RemoveOptions{})) },
		"tree":     func(e *env) { e.check(e.Remove(ctx, "d", RemoveOptions{Recursive: true})) },
	} {
		for _, n := range []int{inlineSize, blobSize} {
			e, c, _ := withCache(t)
			e.put("d/f", data(1, n))
			e.holds("d/f", data(1, n))
			e.kept(c, 1)
			f, err := e.Open(ctx, "d/f")
			e.check(err)
			gone(e)
			var b bytes.Buffer
			if err := f.WriteRange(&b, 0, -1); err != nil || !bytes.Equal(b.Bytes(), data(1, n)) {
				t.Errorf("%s: the open file: %d bytes, %v", name, b.Len(), err)
			}
			e.check(f.Close())
			e.idle()
			e.kept(c, 0)
		}
	}
}

// Keys that are refused end the cache's use at once: nothing is served from
// it, and it is emptied.
func TestCacheEndsWithTheKeys(t *testing.T) {
	e, c, keys := withCache(t)
	e.put("small", data(1, inlineSize))
	e.put("large", data(2, blobSize))
	e.holds("small", data(1, inlineSize))
	e.holds("large", data(2, blobSize))
	e.kept(c, 2)
	keys.refused.Store(true)
	for _, path := range []string{"small", "large"} {
		if _, err := e.read(path); !errors.Is(err, efs.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", path, err)
		}
	}
	e.kept(c, 0)
	keys.refused.Store(false)
	e.holds("small", data(1, inlineSize))
}

// Forgetting reaches the cache, and what is still being read is dropped with
// its last reader. Nothing of a unit is served once its key is gone.
func TestForgettingReachesTheCache(t *testing.T) {
	e, c, _ := withCache(t, patients, signed)
	for _, n := range []int{inlineSize, blobSize} {
		e.put("patients/1/f", data(1, n))
		e.holds("patients/1/f", data(1, n))
		f, err := e.Open(ctx, "patients/1/f")
		e.check(err)
		e.forgetIt("patients/1")
		if _, err := e.read("patients/1/f"); err == nil {
			t.Error("served after it was forgotten")
		}
		_ = f.WriteRange(io.Discard, 0, -1) // by one who had it open before: it may fail
		e.check(f.Close())
		e.idle()
		e.kept(c, 0)
	}
	e.put("patients/2/f", data(2, inlineSize))
	e.holds("patients/2/f", data(2, inlineSize))
	e.kept(c, 1)
	e.destroy("patients/2")
	if b, err := e.read("patients/2/f"); err == nil {
		t.Errorf("%d bytes were served without the unit's key", len(b))
	}
}

// A damaged content is not kept, and nothing of it is given out.
func TestDamagedContentIsNotKept(t *testing.T) {
	e, c, _ := withCache(t)
	l := e.put("large", data(1, blobSize))
	e.idle()
	file := e.blobFile(l.Entry.Extents[0].Content)
	b, err := os.ReadFile(file)
	e.check(err)
	b[len(b)/2] ^= 1
	e.check(os.WriteFile(file, b, 0o600))
	got, err := e.read("large")
	if !errors.Is(err, efs.ErrDamaged) || len(got) > 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	e.kept(c, 0)
}
