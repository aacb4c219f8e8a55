package fsys

import (
	"io"

	"github.com/efs-project/efs"
)

// Cache keeps decrypted contents between reads; *contentcache.View is one. It
// is asked after the keys were found to be live and the entry was opened with
// them, never instead.
type Cache interface {
	// Get returns a content that is there, nil else.
	Get(content efs.ID) Cached
	// Fill returns a content of n bytes, which read fills in, authenticated
	// whole, if it is not there. nil without an error: it cannot be kept now.
	Fill(content efs.ID, n int64, read func(into []byte) error) (Cached, error)
	// MaxFile is the length of the longest file that is kept.
	MaxFile() int64
	// Drop forgets contents; Clear all of the file system.
	Drop(contents ...efs.ID)
	Clear()
}

// Cached is a content held for a reader. Bytes must not be written to, nor
// used after Release, which is called exactly once.
type Cached = interface {
	Bytes() []byte
	Release()
}

// fromCache opens a part from the cache, if it is there.
func (f *File) fromCache(p *part) bool {
	c := f.cache.Get(p.Content)
	if c == nil {
		return false
	}
	if int64(len(c.Bytes())) != p.Length {
		c.Release()
		return false
	}
	p.cached, p.plain = c, c.Bytes()
	return true
}

// keep puts an inline content into the cache, which was opened whole and found
// to be the one that its entry means.
func (f *File) keep(p *part) {
	if f.cache == nil || p.Length == 0 || f.entry.Size > f.cache.MaxFile() {
		return
	}
	c, err := f.cache.Fill(p.Content, p.Length, func(into []byte) error {
		copy(into, p.plain)
		return nil
	})
	if err == nil && c != nil {
		c.Release()
	}
}

// writeCached writes a content of a file that is read whole by way of the
// cache. done is false if it could not be kept there, and nothing was written.
func (f *File) writeCached(w io.Writer, p *part) (done bool, err error) {
	if f.cache == nil || p.r == nil || p.Length == 0 || f.entry.Size > f.cache.MaxFile() {
		return false, nil
	}
	c, err := f.cache.Fill(p.Content, p.Length, func(into []byte) error {
		if _, err := p.readAt(into, 0); err != nil {
			return err
		}
		return f.finish(p)
	})
	if c == nil || err != nil {
		return false, err
	}
	defer c.Release()
	_, err = w.Write(c.Bytes())
	return true, err
}

// dropCached forgets the contents that a transaction released.
func (fs *FS) dropCached(released []efs.Release) {
	if fs.o.Cache == nil {
		return
	}
	for _, r := range released {
		fs.o.Cache.Drop(r.Content)
	}
}
