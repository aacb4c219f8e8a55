package fsys

import (
	"sync"

	"github.com/efs-project/efs"
)

// views knows the views that this process has open. What they need is kept by
// their marks, for who else deletes from the index; and by this, as marks
// expire by a clock that may jump, and by time in which the process was stopped.
type views struct {
	mu   sync.Mutex
	open map[*View]uint64 // sequence numbers; nothing released after one of them is deleted
}

func (o *views) set(v *View, seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[*View]uint64{}
	}
	o.open[v] = seq
}

func (o *views) end(v *View) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, v)
}

// needs reports whether an open view may refer to what was released. A content
// released without a change has the number of the change before it.
func (o *views) needs(r efs.Release) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seq := range o.open {
		if r.Seq >= seq {
			return true
		}
	}
	return false
}
