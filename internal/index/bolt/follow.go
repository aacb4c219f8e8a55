package bolt

import (
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
)

// following is a follower, each time that it follows.
type following struct{ efs.IndexFollower }

// Follow has f told of what is committed from now on; see efs.Index.
func (x *Index) Follow(f efs.IndexFollower) (head efs.Head, stop func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closing:
		return head, nil, errClosed
	case x.follower != nil:
		return head, nil, fmt.Errorf("a follower of the index: %w", efs.ErrExists)
	}
	by := &following{f}
	x.follower = by
	return x.head, func() { x.unfollow(by) }, nil
}

// unfollow ends following. The follower has been told of all that was
// confirmed before.
func (x *Index) unfollow(by *following) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.follower == by {
		x.follower = nil
	}
	for x.untold != nil {
		x.toldAll.Wait()
	}
}

// told is what a follower is to be told of a batch.
type told struct {
	by     *following // which began before it
	before uint64
	head   efs.Head
	ops    []byte
}

// toTell notes the operations of the batch that was just published. Their
// memory is the committer's until the next one.
func (x *Index) toTell(ops []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.untold != nil {
		x.untold.ops = ops
	}
}

// tell tells the follower, if there is one, of the batch that has just been
// confirmed.
func (x *Index) tell() {
	x.mu.Lock()
	t := x.untold
	x.mu.Unlock()
	if t == nil {
		return
	}
	for b := t.ops; len(b) > 0; {
		b = tellOp(t.by, b)
	}
	t.by.Committed(t.before, t.head)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.untold = nil
	x.toldAll.Broadcast()
}

// tellOp tells of the operation that b begins with, if it is one of those that
// followers are told of, and returns what follows.
func tellOp(f efs.IndexFollower, b []byte) (rest []byte) {
	keyLen, valLen, bucket := int(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:]), b[6]
	deleted := valLen == tombstone
	if deleted {
		valLen = 0
	}
	end := opHeader + keyLen
	key, value := b[opHeader:end:end], b[end:end+int(valLen)]
	switch {
	case int(bucket) <= efs.Spaces && deleted:
		f.Delete(efs.Key{Space: efs.Space(bucket), Bytes: key})
	case int(bucket) <= efs.Spaces:
		f.Put(efs.Key{Space: efs.Space(bucket), Bytes: key}, recordVersion(value), value[versionLen:])
	case bucket == bucketQueue && deleted:
		f.Unqueue(efs.Release{Revision: binary.BigEndian.Uint64(key), Content: efs.ID(key[8:])})
	case bucket == bucketQueue:
		if q, err := parseQueued(key, value); err == nil { // the committer's own: it is well-formed
			f.Queue(q.Release)
		}
	}
	return b[end+int(valLen):]
}
