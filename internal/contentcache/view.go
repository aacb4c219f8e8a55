package contentcache

import (
	"time"

	"github.com/efs-project/efs"
)

// Ref is a content that is held for a reader. Bytes must not be written to, nor
// used after Release, which is called exactly once.
type Ref = interface {
	Bytes() []byte
	Release()
}

// View is a file system's part of a cache.
type View struct {
	cache  *Cache
	fs     efs.ID
	live   func() error
	closed bool // guarded by Cache.mu
}

// For returns the part of file system fs. live is nil while its keys may be
// used: it is asked again and again, and everything is dropped as soon as it
// is not, since a decrypted copy must not outlive the permission to decrypt.
func (c *Cache) For(fs efs.ID, live func() error) *View {
	v := &View{cache: c, fs: fs, live: live}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views[fs] = v
	return v
}

// Get returns a content that is there, nil else.
func (v *View) Get(content efs.ID) Ref {
	if it := v.cache.get(key{v.fs, content}); it != nil {
		return it
	}
	return nil
}

// Fill returns a content of n bytes, which read fills in if it is not there;
// read must have authenticated all of it when it returns nil. Of several calls
// at once one reads and the others wait. nil without an error: it cannot be
// kept now. An error is that of read; then nothing is kept.
func (v *View) Fill(content efs.ID, n int64, read func(into []byte) error) (Ref, error) {
	it, err := v.cache.fill(v, content, n, read)
	if it == nil {
		return nil, err
	}
	return it, nil
}

// MaxFile is the length of the longest file that is kept, bytes.
func (v *View) MaxFile() int64 { return v.cache.o.MaxFile }

// Drop forgets contents.
func (v *View) Drop(contents ...efs.ID) {
	c := v.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range contents {
		if it := c.items[key{v.fs, id}]; it != nil {
			c.remove(it)
			c.stats.Dropped++
		}
	}
}

// Clear forgets everything of the file system.
func (v *View) Clear() { v.cache.drop(func(it *item) bool { return it.key.fs == v.fs }) }

// Close forgets everything of the file system, for good.
func (v *View) Close() {
	c := v.cache
	c.mu.Lock()
	v.closed = true
	if c.views[v.fs] == v {
		delete(c.views, v.fs)
	}
	c.mu.Unlock()
	v.Clear()
}

// lookEvery is how often keys are looked at and old files dropped.
const lookEvery = time.Second

// janitor drops what is too old, and what the keys may no longer open.
func (c *Cache) janitor() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			c.look()
		}
	}
}

func (c *Cache) look() {
	now := c.o.Clock()
	for _, v := range c.holding(now) {
		if err := v.live(); err != nil {
			v.Clear()
		}
	}
}

// holding drops what is too old, and returns the views that hold anything.
// The others' keys are not asked for: that would keep them in use.
func (c *Cache) holding(now time.Time) []*View {
	c.mu.Lock()
	defer c.mu.Unlock()
	with := map[*View]bool{}
	for _, it := range c.items {
		if it.filled && !now.Before(it.end) {
			c.remove(it)
			c.stats.Expired++
		} else if v := c.views[it.key.fs]; v != nil && v.live != nil {
			with[v] = true
		}
	}
	var out []*View
	for v := range with {
		out = append(out, v)
	}
	return out
}
