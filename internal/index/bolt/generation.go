package bolt

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// generation is what has been committed to one segment of the log: an image of
// the segment, and a table of the operations in it. The committer adds, readers
// read, the flusher puts it into the file; then, when the last reader has left
// it, it is used again.
type generation struct {
	segment int    // of the log; noSegment: none
	data    []byte // the segment's image
	used    int    // of data; the committer's
	table   table
	batches uint64 // records in it
	last    uint64 // number of the last of them
	cost    cost   // of putting it into the file

	pending atomic.Int64 // bytes that readers see

	readers int  // guarded by Index.gate
	flushed bool // guarded by Index.gate
}

const noSegment = -1

// prepare gives an empty generation memory for a segment of size bytes with a
// number of operations. It lies outside the collected heap, whose limit is
// meant for other things.
func (g *generation) prepare(size, operations int) error {
	if len(g.data) != size {
		g.release()
		data, err := takeMemory(size)
		if err != nil {
			return fmt.Errorf("memory for the index: %w", err)
		}
		g.data = data
	}
	g.used, g.batches, g.cost, g.flushed = 0, 0, cost{}, false
	g.pending.Store(0)
	if g.table.size() < operations {
		g.table = newTable(operations)
	}
	g.table.reset(g.data)
	return nil
}

// release gives the memory back. Nobody uses the generation.
func (g *generation) release() {
	if g.data != nil {
		g.table = table{}
		giveMemory(g.data)
		g.data = nil
	}
}

// An operation: length of the key ‖ length of the value or tombstone ‖ bucket ‖
// key ‖ value.
const opHeader = 2 + 4 + 1

// opSize is the length of an operation.
func opSize(key, value int) int { return opHeader + key + value }

// put appends an operation that sets a key, and returns where its value of n
// bytes goes. There is room for it.
func (g *generation) put(seq uint64, bucket byte, key []byte, n int) []byte {
	g.append(seq, bucket, key, uint32(n))
	g.used += n
	return g.data[g.used-n : g.used : g.used]
}

// delete appends an operation that deletes a key.
func (g *generation) delete(seq uint64, bucket byte, key []byte) {
	g.append(seq, bucket, key, tombstone)
}

func (g *generation) append(seq uint64, bucket byte, key []byte, valLen uint32) {
	b := g.data[g.used:]
	binary.BigEndian.PutUint16(b, uint16(len(key)))
	binary.BigEndian.PutUint32(b[2:], valLen)
	b[6] = bucket
	copy(b[opHeader:], key)
	g.index(seq, g.used, len(key), valLen)
	g.used += opHeader + len(key)
}

// index enters the operation at offset at into the table.
func (g *generation) index(seq uint64, at, keyLen int, valLen uint32) {
	g.table.add(node{
		seq:    seq,
		key:    uint32(at + opHeader - 1),
		keyLen: uint32(keyLen + 1),
		val:    uint32(at + opHeader + keyLen),
		valLen: valLen,
	})
	g.cost.add(g.data[at+opHeader-1], keyLen, valLen)
}

// each calls fn with the newest operation on each key, in order. A nil value
// deletes.
func (g *generation) each(fn func(bucket byte, key, value []byte) error) error {
	t := &g.table
	var done []byte
	for i := t.next(0); i != 0; i = t.next(i) {
		k := t.key(i)
		if string(k) == string(done) {
			continue
		}
		done = k
		if err := fn(k[0], k[1:], t.value(i)); err != nil {
			return err
		}
	}
	return nil
}
