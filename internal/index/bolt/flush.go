package bolt

import (
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

// flusher puts frozen generations into the file, one after the other, until
// there will be no more.
func (x *Index) flusher() {
	defer close(x.drained)
	for g := range x.frozen {
		if x.halt() != nil {
			continue // the log keeps it
		}
		err := x.flush(g)
		for errors.Is(err, errFull) && x.stuck() {
			err = x.flush(g)
		}
		switch {
		case err == nil:
			x.retire(g)
			x.compactIfWorthwhile()
		case !errors.Is(err, errFull):
			x.stop(nil, err)
		}
	}
}

// stuck waits before a generation is tried again for which the file has no room,
// though there was to be: what it changes lies beside values of unusual length. Until
// there is room, and once the other generations are full, nothing can be
// committed, deletes included; what was committed is safe in the log. Not ok: the
// index is closing, and leaves it there.
func (x *Index) stuck() (ok bool) {
	x.gate.Lock()
	x.full = true
	x.gate.Unlock()
	x.move()
	select {
	case <-x.closed:
		return false
	case <-time.After(retryFlush):
		return true
	}
}

const retryFlush = 100 * time.Millisecond

// flush puts a generation into the file.
func (x *Index) flush(g *generation) error {
	x.writer.Lock()
	defer x.writer.Unlock()
	if err := x.fault("flush"); err != nil {
		return err
	}
	err := x.fit(func(tx *bbolt.Tx) error {
		if err := load(tx, g, nil); err != nil {
			return err
		}
		return tx.Bucket(names[bucketMeta]).Put(metaLog, logPosition(x.log.id, g.last))
	})
	if err == nil {
		x.flushes.Add(1)
		x.followed(g)
	}
	return err
}

// load puts what a generation says into a transaction, in the order of keys, as
// far as it is wanted (nil: all).
func load(tx *bbolt.Tx, g *generation, wanted func(bucket byte, key []byte) bool) error {
	var b *bbolt.Bucket
	of := byte(0)
	return g.each(func(bucket byte, key, value []byte) error {
		if wanted != nil && !wanted(bucket, key) {
			return nil
		}
		if b == nil || bucket != of {
			b, of = bucketOf(tx, bucket), bucket
		}
		if value == nil {
			return b.Delete(key)
		}
		return b.Put(key, value)
	})
}

// bucketOf returns a bucket to write to.
func bucketOf(tx *bbolt.Tx, bucket byte) *bbolt.Bucket {
	b := tx.Bucket(names[bucket])
	b.FillPercent = randomFill
	if appends(bucket) {
		b.FillPercent = appendFill
	}
	return b
}

// retire takes a generation that lies in the file out of the readers' sight.
func (x *Index) retire(g *generation) {
	x.gate.Lock()
	defer x.gate.Unlock()
	for i := range x.gens {
		if x.gens[i] == g {
			x.gens = append(x.gens[:i], x.gens[i+1:]...)
			break
		}
	}
	if g.flushed = true; g.readers == 0 {
		x.reuse(g)
	}
	x.full = false
	x.move()
}

// reuse makes a generation that nobody needs any more ready for new records.
// x.gate is held.
func (x *Index) reuse(g *generation) {
	x.spare = append(x.spare, g)
	if x.resting {
		for _, g := range x.spare {
			g.release()
		}
	}
	x.move()
}

// move wakes the committer where it waits for the flusher.
func (x *Index) move() {
	select {
	case x.moved <- struct{}{}:
	default:
	}
}

// freeze hands the active generation to the flusher.
func (x *Index) freeze() {
	g := x.active
	if g == nil {
		return
	}
	x.active = nil
	if g.batches == 0 {
		x.retire(g)
		return
	}
	x.frozen <- g // there is room for all
}

// drain waits until the file holds all that has been committed. errHalted
// when that will not be.
func (x *Index) drain() error {
	x.freeze()
	return x.await(func() bool { return len(x.gens) == 0 })
}

// await waits until cond holds, which is asked with x.gate held. errHalted when
// nothing will be flushed any more, errFull when nothing can be for now.
func (x *Index) await(cond func() bool) error {
	for {
		x.gate.Lock()
		ok, full := cond(), x.full
		x.gate.Unlock()
		switch {
		case ok:
			return nil
		case full:
			return errFull
		}
		select {
		case <-x.moved:
		case <-x.halted:
			return errHalted
		case <-x.wedged:
			return errWedged
		}
	}
}

// activate makes a generation active that has room for a demand. Not ok: there
// is no room for its segment. The log's first use gives it a name in the file.
func (x *Index) activate(d demand) (ok bool, err error) {
	var g *generation
	if err := x.await(func() bool {
		if n := len(x.spare); n > 0 {
			g, x.spare = x.spare[n-1], x.spare[:n-1]
		}
		return g != nil
	}); err != nil {
		return false, err
	}
	need := int64(align(max(d.size, d.ops*bytesPerOperation)))
	length, err := x.log.open(g.segment, need, max(need, x.want))
	if err == nil && !x.log.inUse() {
		err = x.nameLog()
	}
	if err == nil {
		err = g.prepare(int(length), int(length/bytesPerOperation))
	}
	x.gate.Lock()
	defer x.gate.Unlock()
	if err != nil {
		x.spare = append(x.spare, g)
		if isNoSpace(err) {
			return false, nil
		}
		return false, err
	}
	x.active, x.resting = g, false
	x.gens = append([]*generation{g}, x.gens...)
	return true, nil
}

// nameLog begins a log with a new id.
func (x *Index) nameLog() error {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.log.renew()
	err := x.fit(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(names[bucketMeta])
		if err := meta.Put(metaFormat, formatValue()); err != nil {
			return err
		}
		return meta.Put(metaLog, logPosition(x.log.id, x.log.number))
	})
	if err != nil {
		x.log.id = [16]byte{}
	}
	return err
}

// unnameLog makes the file the whole index.
func (x *Index) unnameLog() error {
	x.writer.Lock()
	defer x.writer.Unlock()
	return x.fit(func(tx *bbolt.Tx) error { return tx.Bucket(names[bucketMeta]).Delete(metaLog) })
}
