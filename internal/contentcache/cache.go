// Package contentcache keeps decrypted files for those that are read again and
// again: bounded in bytes, the least recently used dropped first, none older
// than its time to live.
//
// What it holds is plaintext, so it is kept like a key: in one arena of memory
// that is locked against swapping and left out of core dumps, outside the heap
// of the garbage collector, which copies nothing from there and leaves nothing
// behind. A file is overwritten when it is dropped, whatever the reason. The
// arena can be a file on a tmpfs too; what a killed server left there is
// overwritten by the next.
//
// The key is the id of a content, which is immutable and named by exactly one
// version of one file: what is here is never stale. Who may read it is judged
// by whoever looks here, each time, before looking.
package contentcache

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// Options say how much is kept, where and for how long.
type Options struct {
	Size    int64            // bytes at most; the files' lengths are rounded up to powers of two of at least 4 KiB
	Where   string           // Memory, or a directory on a tmpfs
	TTL     time.Duration    // a file is dropped so long after it came
	MaxFile int64            // bytes; longer files are not kept
	Force   bool             // take a directory that is no tmpfs
	Volumes []string         // directories of stored data, where the cache must not lie
	Logger  *slog.Logger     // nil: slog.Default()
	Clock   func() time.Time // nil: time.Now
}

// Memory is the place of a cache that no file has.
const Memory = "memory"

// Stats counts what a cache did since it was opened.
type Stats struct {
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
	Evictions uint64 `json:"evictions"` // to make room
	Expired   uint64 `json:"expired"`   // past their time to live
	Dropped   uint64 `json:"dropped"`   // deleted, forgotten, refused, cleared
	Refused   uint64 `json:"refused"`   // not taken, since all there was is being read
	Files     int    `json:"files"`     // held now
	Bytes     int64  `json:"bytes"`     // taken up by them
	Size      int64  `json:"size"`      // that may be taken up
}

// key names a content of a file system.
type key struct{ fs, content efs.ID }

// Cache is an open cache. Its methods are safe for concurrent use.
type Cache struct {
	o     Options
	arena *arena
	log   *slog.Logger

	mu     sync.Mutex
	items  map[key]*item
	recent *list.List // of *item, the most recently used first
	views  map[efs.ID]*View
	stats  Stats
	closed bool

	stop chan struct{}
	done sync.WaitGroup
}

// Open makes the arena. Errors say what must be changed, and wrap
// efs.ErrBadInput where the place is not one for plaintext.
func Open(o Options) (*Cache, error) {
	if o.Size < minBlock || o.MaxFile < 1 || o.MaxFile > o.Size || o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a cache of %d bytes for files up to %d", efs.ErrBadInput, o.Size, o.MaxFile)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	a, err := newArena(&o)
	if err != nil {
		return nil, fmt.Errorf("cache of decrypted files: %w", err)
	}
	c := &Cache{
		o: o, arena: a, log: o.Logger, items: map[key]*item{}, recent: list.New(),
		views: map[efs.ID]*View{}, stop: make(chan struct{}),
	}
	c.done.Go(c.janitor)
	return c, nil
}

// get returns an item with a reference for the caller, who releases it; nil if
// it is not there or not filled yet.
func (c *Cache) get(k key) *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.items[k]
	if it == nil || !it.filled {
		c.stats.Misses++
		return nil
	}
	if !c.o.Clock().Before(it.end) {
		c.remove(it)
		c.stats.Expired++
		c.stats.Misses++
		return nil
	}
	c.stats.Hits++
	c.recent.MoveToFront(it.place)
	it.refs++
	return it
}

// fill returns the item of k, and has it filled by read if it is not there.
// Of several at once one fills and the others wait. nil without an error says
// that it cannot be kept now, and that the caller is to do without.
func (c *Cache) fill(v *View, content efs.ID, n int64, read func(into []byte) error) (*item, error) {
	k := key{v.fs, content}
	it, mine := c.reserve(v, k, n)
	if it == nil {
		return nil, nil
	}
	if !mine {
		<-it.ready
		if it.failed {
			c.release(it)
			return nil, nil
		}
		return it, nil
	}
	err := errUnfinished
	defer func() { // also when read panics
		if err != nil {
			c.abandon(it)
		}
	}()
	if err = read(it.bytes); err != nil {
		return nil, err
	}
	c.mu.Lock()
	it.filled = true
	c.mu.Unlock()
	close(it.ready)
	return it, nil
}

var errUnfinished = errors.New("the content was not read whole")

// reserve returns the item of k with a reference, or a new one for the caller
// to fill. nil if there is no room.
func (c *Cache) reserve(v *View, k key, n int64) (it *item, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.items[k]; it != nil {
		it.refs++
		return it, false
	}
	if c.closed || v.closed || n < 1 || n > c.o.MaxFile {
		return nil, false
	}
	b, ok := c.room(n)
	if !ok {
		c.stats.Refused++
		return nil, false
	}
	it = &item{cache: c, key: k, block: b, bytes: c.arena.bytes(b)[:n:n], end: c.o.Clock().Add(c.o.TTL), ready: make(chan struct{}), refs: 1}
	it.place = c.recent.PushFront(it)
	c.items[k] = it
	c.stats.Files++
	c.stats.Bytes += b.size()
	return it, true
}

// room finds a block, dropping what was not used for the longest time and is
// not being read. Called with mu held.
func (c *Cache) room(n int64) (block, bool) {
	if b, ok := c.arena.alloc(n); ok {
		return b, true
	}
	for e := c.recent.Back(); e != nil; {
		it := e.Value.(*item)
		e = e.Prev()
		if it.refs > 0 {
			continue
		}
		c.remove(it)
		c.stats.Evictions++
		if b, ok := c.arena.alloc(n); ok {
			return b, true
		}
	}
	return block{}, false
}

// remove takes an item out; it is overwritten now, or when its last reader is
// done. Called with mu held.
func (c *Cache) remove(it *item) {
	if c.items[it.key] != it {
		return // taken out before
	}
	delete(c.items, it.key)
	c.recent.Remove(it.place)
	if it.refs == 0 {
		c.wipe(it)
	}
}

// wipe overwrites an item that nobody reads and gives its room back. Called
// with mu held.
func (c *Cache) wipe(it *item) {
	c.arena.free(it.block)
	c.stats.Files--
	c.stats.Bytes -= it.block.size()
	it.bytes = nil
}

// abandon takes out an item that could not be filled.
func (c *Cache) abandon(it *item) {
	c.mu.Lock()
	it.failed = true
	c.remove(it)
	c.mu.Unlock()
	close(it.ready)
	c.release(it)
}

func (c *Cache) release(it *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it.refs--
	if it.refs == 0 && c.items[it.key] != it {
		c.wipe(it)
	}
}

// Clear drops everything, and returns how many files that were, and how many
// of them are being read and overwritten when their readers are done.
func (c *Cache) Clear() (files, reading int) { return c.drop(func(*item) bool { return true }) }

// drop takes out what is chosen.
func (c *Cache) drop(chosen func(*item) bool) (files, reading int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		if !chosen(it) {
			continue
		}
		files++
		if it.refs > 0 {
			reading++
		}
		c.remove(it)
		c.stats.Dropped++
	}
	return files, reading
}

// Stats tells what the cache did and holds.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Size = c.o.Size
	return s
}

// Close drops everything and gives the arena back. No reader may hold anything
// any more.
func (c *Cache) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.done.Wait()
	if _, reading := c.Clear(); reading > 0 {
		return fmt.Errorf("cache of decrypted files: %d are still being read", reading)
	}
	return c.arena.close()
}
