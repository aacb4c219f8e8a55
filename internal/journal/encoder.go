package journal

import "github.com/efs-project/efs"

// encoder is the efs.IndexFollower that makes items of what an index commits.
// It keeps at most limit bytes; what does not fit is not kept, up to the end of
// its commit, and is a gap from then on.
type encoder struct {
	buf   []byte
	limit int
	whole int   // bytes of buf that are commits with their heads
	cuts  []int // ends of commits between which some chunkSize bytes lie
	over  bool
	head  efs.Head // after the last commit
	gap   bool     // a commit before head is not in buf
}

var _ efs.IndexFollower = (*encoder)(nil)

// room reports whether n bytes more may be kept.
func (e *encoder) room(n int) bool {
	e.over = e.over || e.gap || len(e.buf)+n > e.limit
	return !e.over
}

// Put keeps a record that was written.
func (e *encoder) Put(k efs.Key, version uint64, sealed []byte) {
	if e.room(putLen + len(k.Bytes) + len(sealed) + headLen) {
		e.buf = appendPut(e.buf, k, version, sealed)
	}
}

// Delete keeps that a record was deleted.
func (e *encoder) Delete(k efs.Key) {
	if e.room(deleteLen + len(k.Bytes) + headLen) {
		e.buf = appendDelete(e.buf, k)
	}
}

// Queue keeps that a content was dropped.
func (e *encoder) Queue(r efs.Release) {
	if e.room(queueLen + headLen) {
		e.buf = appendQueue(e.buf, r)
	}
}

// Unqueue keeps that a content is gone.
func (e *encoder) Unqueue(r efs.Release) {
	if e.room(unqueueLen + headLen) {
		e.buf = appendUnqueue(e.buf, r)
	}
}

// Committed ends a commit.
func (e *encoder) Committed(before uint64, h efs.Head) {
	e.head = h
	if e.gap = e.gap || e.over; e.gap {
		e.buf, e.over = e.buf[:e.whole], false
		return
	}
	e.buf = appendHead(e.buf, before, h)
	e.whole = len(e.buf)
	if last := len(e.cuts) - 1; e.whole >= chunkSize && (last < 0 || e.whole-e.cuts[last] >= chunkSize) {
		e.cuts = append(e.cuts, e.whole)
	}
}
