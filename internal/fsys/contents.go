package fsys

import (
	"sync"

	"github.com/efs-project/efs"
)

// contents knows which contents this process is reading, which must not be
// deleted, and which it is writing, which no entry refers to yet.
type contents struct {
	mu      sync.Mutex
	pinned  map[efs.ID]int
	writing map[efs.ID]struct{}
}

func (c *contents) init() {
	c.pinned, c.writing = map[efs.ID]int{}, map[efs.ID]struct{}{}
}

func (c *contents) pin(xs []efs.Extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range xs {
		c.pinned[x.Content]++
	}
}

func (c *contents) unpin(xs []efs.Extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range xs {
		if c.pinned[x.Content]--; c.pinned[x.Content] == 0 {
			delete(c.pinned, x.Content)
		}
	}
}

func (c *contents) isPinned(id efs.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinned[id] > 0
}

// pins is how many contents are pinned.
func (c *contents) pins() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pinned)
}

func (c *contents) begin(id efs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing[id] = struct{}{}
}

func (c *contents) end(id efs.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.writing, id)
}

func (c *contents) isWriting(id efs.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.writing[id]
	return ok
}
