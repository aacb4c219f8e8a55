package contentcache

import (
	"container/list"
	"time"
)

// item is a content in the cache.
type item struct {
	cache *Cache
	key   key
	block block
	bytes []byte        // in the arena; nil once it was overwritten
	end   time.Time     // of its time to live
	place *list.Element // in Cache.recent
	ready chan struct{} // closed when it is filled, or failed
	// What follows is guarded by Cache.mu; failed may be read after ready.
	refs   int
	filled bool
	failed bool
}

// Bytes is the content. It must not be written to, nor used after Release.
func (it *item) Bytes() []byte { return it.bytes }

// Release ends the use of Bytes. It is called exactly once.
func (it *item) Release() { it.cache.release(it) }
