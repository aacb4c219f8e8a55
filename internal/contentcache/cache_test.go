package contentcache

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

// clock is a time that tests set.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// shm makes a directory on a tmpfs.
func shm(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "efs-cache-test-")
	if err != nil {
		t.Skip("no tmpfs at /dev/shm: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// everywhere runs a test in memory and on a tmpfs.
func everywhere(t *testing.T, test func(t *testing.T, where string)) {
	t.Run("memory", func(t *testing.T) { test(t, Memory) })
	t.Run("tmpfs", func(t *testing.T) { test(t, shm(t)) })
}

func opened(t *testing.T, where string, size, maxFile int64) (*Cache, *View, *clock) {
	t.Helper()
	clk := &clock{}
	c, err := Open(Options{Size: size, MaxFile: maxFile, Where: where, TTL: time.Minute, Clock: clk.now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, c.For(efs.NewID(), func() error { return nil }), clk
}

// with returns what fills a content with b.
func with(b []byte) func([]byte) error {
	return func(into []byte) error { copy(into, b); return nil }
}

func put(t *testing.T, v *View, id efs.ID, b []byte) bool {
	t.Helper()
	r, err := v.Fill(id, int64(len(b)), with(b))
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return false
	}
	if !bytes.Equal(r.Bytes(), b) {
		t.Fatalf("%d bytes came back otherwise", len(b))
	}
	r.Release()
	return true
}

func has(v *View, id efs.ID, b []byte) bool {
	r := v.Get(id)
	if r == nil {
		return false
	}
	defer r.Release()
	return bytes.Equal(r.Bytes(), b)
}

// traces counts in how many pages of the arena anything is to be read, seen
// from outside where it is a file.
func (c *Cache) traces(t *testing.T) (pages int) {
	t.Helper()
	mem := c.arena.mem
	if c.arena.file != nil {
		var err error
		if mem, err = os.ReadFile(filepath.Join(c.o.Where, fileName)); err != nil {
			t.Fatal(err)
		}
	}
	zero := make([]byte, minBlock)
	for off := 0; off < len(mem); off += minBlock {
		if !bytes.Equal(mem[off:off+minBlock], zero) {
			pages++
		}
	}
	return pages
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestFilledOnceReadOften(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, _ := opened(t, where, 1<<20, 256<<10)
		files := map[efs.ID][]byte{}
		for _, n := range []int{1, 4095, 4096, 4097, 100_000, 256 << 10} {
			id := efs.NewID()
			files[id] = random(n)
			if v.Get(id) != nil {
				t.Error("there before it was filled in")
			}
			if !put(t, v, id, files[id]) {
				t.Errorf("%d bytes were not taken", n)
			}
		}
		for id, b := range files {
			if !has(v, id, b) {
				t.Errorf("%d bytes are not there", len(b))
			}
			if r, err := v.Fill(id, int64(len(b)), func([]byte) error { return errors.New("read again") }); err != nil || r == nil {
				t.Error(err)
			} else {
				r.Release()
			}
		}
		if put(t, v, efs.NewID(), random(256<<10+1)) || put(t, v, efs.NewID(), nil) {
			t.Error("a file that is too long, or empty, was taken")
		}
		s := c.Stats()
		if s.Hits != 6 || s.Misses != 6 || s.Files != 6 || s.Bytes != (4+4+4+8+128+256)<<10 || s.Size != 1<<20 {
			t.Errorf("%+v", s)
		}
	})
}

// One file system's contents are not another's, even under the same id.
func TestFileSystemsAreApart(t *testing.T) {
	c, v, _ := opened(t, Memory, 1<<20, 4<<10)
	other := c.For(efs.NewID(), nil)
	id := efs.NewID()
	put(t, v, id, []byte("one"))
	if other.Get(id) != nil {
		t.Error("seen from another file system")
	}
	put(t, other, id, []byte("two"))
	v.Close()
	if v.Get(id) != nil || !has(other, id, []byte("two")) {
		t.Error("closing one took the other's, or left its own")
	}
	if put(t, v, id, []byte("one")) {
		t.Error("a closed view took a file")
	}
}

// However dropped, nothing of a file is left in the arena.
func TestWiped(t *testing.T) {
	for name, drop := range map[string]func(c *Cache, v *View, clk *clock, ids []efs.ID){
		"clear":      func(c *Cache, _ *View, _ *clock, _ []efs.ID) { c.Clear() },
		"drop":       func(_ *Cache, v *View, _ *clock, ids []efs.ID) { v.Drop(ids...) },
		"close view": func(_ *Cache, v *View, _ *clock, _ []efs.ID) { v.Close() },
		"too old":    func(c *Cache, _ *View, clk *clock, _ []efs.ID) { clk.advance(time.Minute); c.look() },
		"found old":  func(_ *Cache, v *View, clk *clock, ids []efs.ID) { clk.advance(time.Minute); getAll(v, ids) },
		"refused":    func(c *Cache, v *View, _ *clock, _ []efs.ID) { v.live = refusing; c.look() },
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, where string) {
				c, v, clk := opened(t, where, 1<<20, 64<<10)
				var ids []efs.ID
				for range 10 {
					ids = append(ids, efs.NewID())
					put(t, v, ids[len(ids)-1], random(10_000))
				}
				if c.traces(t) < 30 {
					t.Fatal("the test does not see what is in the arena")
				}
				drop(c, v, clk, ids)
				if n := c.traces(t); n > 0 {
					t.Errorf("%d pages still hold something", n)
				}
				if getAll(v, ids) > 0 {
					t.Error("still served")
				}
				if s := c.Stats(); s.Files != 0 || s.Bytes != 0 || s.Dropped+s.Expired != 10 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func refusing() error { return efs.ErrRefused }

func getAll(v *View, ids []efs.ID) (n int) {
	for _, id := range ids {
		if r := v.Get(id); r != nil {
			n++
			r.Release()
		}
	}
	return n
}

// The least recently used goes first, its bytes with it, and never more is
// taken than was given.
func TestEviction(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, _ := opened(t, where, 64<<10, 16<<10)
		var ids []efs.ID
		for i := range 16 {
			ids = append(ids, efs.NewID())
			put(t, v, ids[i], bytes.Repeat([]byte{byte(i + 1)}, 4<<10))
		}
		v.Get(ids[0]).Release() // used again
		put(t, v, efs.NewID(), random(4<<10))
		if v.Get(ids[1]) != nil {
			t.Error("the least recently used is still there")
		}
		if !has(v, ids[0], bytes.Repeat([]byte{1}, 4<<10)) {
			t.Error("a file in use went first")
		}
		put(t, v, efs.NewID(), random(16<<10))
		s := c.Stats()
		if s.Bytes > 64<<10 || s.Evictions < 5 {
			t.Errorf("%+v", s)
		}
	})
}

// What is being read stays until it was read, and is overwritten then. If all
// is being read, nothing more is taken.
func TestReadersKeepWhatTheyRead(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, _ := opened(t, where, 16<<10, 16<<10)
		id, b := efs.NewID(), random(16<<10)
		r, err := v.Fill(id, int64(len(b)), with(b))
		if err != nil {
			t.Fatal(err)
		}
		if put(t, v, efs.NewID(), []byte("more")) || c.Stats().Refused != 1 {
			t.Error("taken without room")
		}
		if files, reading := c.Clear(); files != 1 || reading != 1 {
			t.Errorf("cleared %d, of which %d are read", files, reading)
		}
		if v.Get(id) != nil {
			t.Error("served after it was cleared")
		}
		if !bytes.Equal(r.Bytes(), b) {
			t.Error("taken from its reader")
		}
		r.Release()
		if c.traces(t) > 0 || !put(t, v, efs.NewID(), []byte("more")) {
			t.Error("its room was not given back")
		}
	})
}

// Of many who want the same content at once, one reads it.
func TestSingleFlight(t *testing.T) {
	c, v, _ := opened(t, Memory, 1<<20, 64<<10)
	id, b := efs.NewID(), random(10_000)
	var reads atomic.Int32
	begun := make(chan struct{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r, err := v.Fill(id, int64(len(b)), func(into []byte) error {
				reads.Add(1)
				<-begun
				copy(into, b)
				return nil
			})
			if err != nil || r == nil || !bytes.Equal(r.Bytes(), b) {
				t.Errorf("%v, %v", r, err)
				return
			}
			r.Release()
		})
	}
	for c.refs(v, id) < 20 { // all have come
		time.Sleep(time.Millisecond)
	}
	if v.Get(id) != nil {
		t.Error("served before it was read")
	}
	close(begun)
	all.Wait()
	if reads.Load() != 1 {
		t.Errorf("read %d times", reads.Load())
	}
}

func (c *Cache) refs(v *View, id efs.ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.items[key{v.fs, id}]; it != nil {
		return it.refs
	}
	return 0
}

// A read that fails leaves nothing; who waited for it is told to read itself.
func TestFailedRead(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, _ := opened(t, where, 1<<20, 64<<10)
		id := efs.NewID()
		begun, waits := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(waits)
			<-begun
			if r, err := v.Fill(id, 5, with([]byte("other"))); err != nil || r != nil && !bytes.Equal(r.Bytes(), []byte("other")) {
				t.Errorf("the one who waited: %v, %v", r, err)
			} else if r != nil {
				r.Release()
			}
		}()
		_, err := v.Fill(id, 5, func(into []byte) error {
			copy(into, "wrong")
			close(begun)
			for c.refs(v, id) < 2 {
				time.Sleep(time.Millisecond)
			}
			return efs.ErrDamaged
		})
		if !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("error %v", err)
		}
		<-waits
		c.Clear()
		if v.Get(id) != nil || c.traces(t) > 0 {
			t.Error("something was left")
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = v.Fill(id, 5, func(into []byte) error { copy(into, "wrong"); panic("a fault") })
		}()
		if v.Get(id) != nil || c.traces(t) > 0 || c.Stats().Files != 0 {
			t.Error("a panic left something")
		}
	})
}

// What is dropped while it is being read in is served to nobody afterwards.
func TestDroppedWhileFilled(t *testing.T) {
	c, v, _ := opened(t, Memory, 1<<20, 64<<10)
	id := efs.NewID()
	r, err := v.Fill(id, 5, func(into []byte) error {
		copy(into, "alpha")
		v.Drop(id)
		return nil
	})
	if err != nil || string(r.Bytes()) != "alpha" {
		t.Fatal(r, err)
	}
	if v.Get(id) != nil {
		t.Error("served")
	}
	r.Release()
	if c.traces(t) > 0 {
		t.Error("left in the arena")
	}
}

// Whatever is done in whatever order, what comes out is what went in.
func TestManyAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, clk := opened(t, where, 256<<10, 64<<10)
		ids := make([]efs.ID, 50)
		for i := range ids {
			ids[i] = efs.NewID()
		}
		content := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 1+i*1300) }
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for step := range 500 {
					i := (step*7 + w*13) % len(ids)
					r, err := v.Fill(ids[i], int64(len(content(i))), with(content(i)))
					if err != nil {
						t.Error(err)
					}
					if r != nil {
						if !bytes.Equal(r.Bytes(), content(i)) {
							t.Errorf("content %d came back otherwise", i)
						}
						r.Release()
					}
					switch step % 50 {
					case 11:
						v.Drop(ids[i])
					case 23:
						c.Clear()
					case 37:
						clk.advance(20 * time.Second)
						c.look()
					}
					if s := c.Stats(); s.Bytes > 256<<10 {
						t.Errorf("%d bytes are taken up", s.Bytes)
					}
				}
			})
		}
		all.Wait()
		c.Clear()
		if s := c.Stats(); s.Files != 0 || s.Bytes != 0 || c.traces(t) > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Blocks never overlap, and all that was given back is to be had again.
func TestBuddies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := rapid.IntRange(1, 300).Draw(t, "pages")
		b := newBuddies(pages)
		used := map[int]bool{}
		var held []block
		for _, n := range rapid.SliceOf(rapid.Int64Range(-3, 40*minBlock)).Draw(t, "sizes") {
			if n <= 0 {
				if len(held) > 0 {
					x := held[0]
					held = held[1:]
					b.release(x)
					for p := x.page; p < x.page+1<<x.order; p++ {
						delete(used, p)
					}
				}
				continue
			}
			x, ok := b.alloc(n)
			if !ok {
				continue
			}
			if x.size() < n || x.size() >= 2*max(n, minBlock) {
				t.Fatalf("a block of %d for %d", x.size(), n)
			}
			for p := x.page; p < x.page+1<<x.order; p++ {
				if p >= pages || used[p] {
					t.Fatalf("page %d of %d was given out twice or is not there", p, pages)
				}
				used[p] = true
			}
			held = append(held, x)
		}
		for _, x := range held {
			b.release(x)
		}
		if got, want := fmt.Sprint(b.free), fmt.Sprint(newBuddies(pages).free); got != want {
			t.Fatalf("free blocks are %s, not %s", got, want)
		}
	})
}

func TestPlacesThatAreRefused(t *testing.T) {
	good := shm(t)
	volume := filepath.Join(good, "volume")
	open := filepath.Join(good, "open")
	for dir, mode := range map[string]os.FileMode{volume: 0o700, open: 0o755} {
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(good, "link")
	if err := os.Symlink(volume, linked); err != nil {
		t.Fatal(err)
	}
	disk := t.TempDir()
	if err := os.Chmod(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{Size: 1 << 20, MaxFile: 4 << 10, TTL: time.Minute, Volumes: []string{volume}, Logger: slog.New(slog.DiscardHandler)}
	for where, want := range map[string]string{
		disk:                           "is no tmpfs",
		open:                           "chmod 700",
		filepath.Join(volume, "cache"): "is part of the volume",
		filepath.Join(linked, "cache"): "is part of the volume",
		good:                           "is part of the volume", // the other way round
		filepath.Join(good, "a", "b"):  "no such file or directory",
		"/dev/null":                    "",
	} {
		o.Where = where
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", where, err, want)
		}
		if _, err := os.Stat(filepath.Join(where, fileName)); err == nil {
			t.Errorf("%s: something was written there", where)
		}
		if _, err := os.Stat(filepath.Join(volume, "cache")); err == nil {
			t.Error("a directory was made in the volume")
		}
	}
	o.Where, o.Force = disk, true
	c, err := Open(o)
	if err != nil {
		t.Fatal("not even by force: ", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	o.Where = filepath.Join(volume, "cache")
	if _, err := Open(o); err == nil {
		t.Error("force put it into the volume")
	}
}

// What a killed server left is overwritten before anything else happens, and
// two servers do not share a place.
func TestLeftover(t *testing.T) {
	dir := shm(t)
	left := filepath.Join(dir, fileName)
	if err := os.WriteFile(left, random(3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(left) // the same file, whatever becomes of its name
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	o := Options{Size: 1 << 20, MaxFile: 4 << 10, TTL: time.Minute, Where: dir}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := held.Stat(); info.Size() != 1<<20 || c.traces(t) > 0 {
		t.Errorf("%d bytes, %d pages of them with something in them", info.Size(), c.traces(t))
	}
	if _, err := Open(o); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("a second server: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file is still there after stopping: ", err)
	}
}
