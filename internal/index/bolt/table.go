package bolt

import (
	"bytes"
	"math"
	"sync/atomic"
)

// table is an ordered index of the operations in a generation: a skip list
// (Pugh, 1990) whose nodes are only ever added. One goroutine adds; any number
// read meanwhile, without a lock. Nodes refer to the generation's memory and
// to each other by number, so the garbage collector finds nothing in it to
// follow.
//
// Keys begin with their bucket. Operations on the same key lie in order of
// age, the newest first.
type table struct {
	data  []byte // the generation's memory
	nodes []node // the first is the head
	links []atomic.Uint32
	used  int // of nodes; of links: the adder's alone
	taken int
	noise uint64
}

// node is one operation.
type node struct {
	seq      uint64 // numbers operations
	key, val uint32 // where they begin in data
	keyLen   uint32
	valLen   uint32 // tombstone: the key is deleted
	links    uint32 // where its links begin; one for each of its levels
}

const (
	maxHeight = 12
	tombstone = math.MaxUint32
	newest    = math.MaxUint64 // sees every operation
)

// newTable makes a table for up to n operations.
func newTable(n int) table {
	return table{
		nodes: make([]node, n+1),
		links: make([]atomic.Uint32, maxHeight+2*n), // a node has 4/3 of a link
		noise: 0x9e3779b97f4a7c15,
	}
}

// size is how many operations the table can hold.
func (t *table) size() int { return len(t.nodes) - 1 }

// reset empties the table, over new memory. Nobody reads it.
func (t *table) reset(data []byte) {
	t.data, t.used, t.taken = data, 1, maxHeight
	for i := range maxHeight {
		t.links[i].Store(0)
	}
}

// room is how many operations can be added.
func (t *table) room() int { return len(t.nodes) - t.used }

func (t *table) key(i uint32) []byte {
	n := &t.nodes[i]
	return t.data[n.key : n.key+n.keyLen]
}

// value returns the value of a node, nil if it deletes.
func (t *table) value(i uint32) []byte {
	n := &t.nodes[i]
	if n.valLen == tombstone {
		return nil
	}
	return t.data[n.val : n.val+n.valLen : n.val+n.valLen]
}

// before reports whether a node lies before (bucket, key) as of seq.
func (t *table) before(i uint32, bucket byte, key []byte, seq uint64) bool {
	k := t.key(i)
	if k[0] != bucket {
		return k[0] < bucket
	}
	c := bytes.Compare(k[1:], key)
	return c < 0 || c == 0 && t.nodes[i].seq > seq
}

// seek returns the first node at or after (bucket, key) as of seq, and the
// last one before; 0 for none.
func (t *table) seek(bucket byte, key []byte, seq uint64) (at, prev uint32) {
	for level := maxHeight - 1; level >= 0; level-- {
		for {
			at = t.links[int(t.nodes[prev].links)+level].Load()
			if at == 0 || !t.before(at, bucket, key, seq) {
				break
			}
			prev = at
		}
	}
	return at, prev
}

// next returns the node after i.
func (t *table) next(i uint32) uint32 { return t.links[t.nodes[i].links].Load() }

// get returns what the table says of a key as of seq. Not found: nothing.
func (t *table) get(bucket byte, key []byte, seq uint64) (value []byte, found bool) {
	at, _ := t.seek(bucket, key, seq)
	if at == 0 {
		return nil, false
	}
	if k := t.key(at); k[0] != bucket || !bytes.Equal(k[1:], key) {
		return nil, false
	}
	return t.value(at), true
}

// add inserts an operation whose key, with its bucket, lies in data already.
func (t *table) add(n node) {
	i := uint32(t.used)
	t.used++
	height := t.height()
	n.links = uint32(t.taken)
	t.taken += height
	t.nodes[i] = n
	k := t.key(i)
	var prevs [maxHeight]uint32
	var at, prev uint32
	for level := maxHeight - 1; level >= 0; level-- {
		for {
			at = t.links[int(t.nodes[prev].links)+level].Load()
			if at == 0 || !t.before(at, k[0], k[1:], n.seq) {
				break
			}
			prev = at
		}
		if level < height {
			t.links[int(n.links)+level].Store(at)
			prevs[level] = prev
		}
	}
	// Only now can readers come here, and all that they find is in place.
	for level := range height {
		t.links[int(t.nodes[prevs[level]].links)+level].Store(i)
	}
}

// height draws how many levels the next node has, each further one with
// probability 1/4, leaving a link for each node that may still come.
func (t *table) height() int {
	t.noise ^= t.noise << 13
	t.noise ^= t.noise >> 7
	t.noise ^= t.noise << 17
	h := 1
	for x := t.noise; h < maxHeight && x&3 == 0; x >>= 2 {
		h++
	}
	return min(h, len(t.links)-t.taken-(len(t.nodes)-t.used))
}
