package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	maxBatch      = 1000    // operations in a commit, but for a single larger transaction
	maxBatchBytes = 1 << 20 // of keys and values, likewise
)

// request is one transaction, or one step of housekeeping, on its way through
// the committer.
type request struct {
	txn       *efs.Txn
	job       func(*pass) error // instead of txn; must not fail for what its caller gave
	idle      bool              // instead of both: nothing has come for a while
	givesBack bool              // may use the reserve
	demand

	taken atomic.Int32  // requestWaiting, or who has it
	done  chan struct{} // receives once, when committed and err are set

	committed efs.Committed
	err       error
}

const (
	requestWaiting = iota
	requestTaken
	requestCancelled
)

// Commit applies txn; see efs.Index.
func (x *Index) Commit(ctx context.Context, txn *efs.Txn) (efs.Committed, error) {
	r, err := newRequest(txn)
	if err != nil {
		return efs.Committed{}, err
	}
	return x.submit(ctx, r)
}

// submit queues r and waits for its end.
func (x *Index) submit(ctx context.Context, r *request) (efs.Committed, error) {
	if err := ctx.Err(); err != nil {
		return efs.Committed{}, err
	}
	r.done = make(chan struct{}, 1)
	x.mu.Lock()
	if err := x.refusal(); err != nil {
		x.mu.Unlock()
		return efs.Committed{}, err
	}
	x.queue = append(x.queue, r)
	x.work.Signal()
	x.mu.Unlock()

	select {
	case <-r.done:
		return r.committed, r.err
	case <-x.wedged:
	case <-ctx.Done():
		if r.taken.CompareAndSwap(requestWaiting, requestCancelled) {
			return efs.Committed{}, ctx.Err()
		}
		// Taken up: finished whatever becomes of ctx.
		select {
		case <-r.done:
			return r.committed, r.err
		case <-x.wedged:
		}
	}
	return efs.Committed{}, fmt.Errorf("outcome unknown: %w: %v", efs.ErrStopped, errWedged)
}

// refusal is why no new request is taken. x.mu is held.
func (x *Index) refusal() error {
	switch {
	case x.stopped != nil:
		return x.stopped
	case x.closing:
		return errClosed
	}
	return nil
}

// run is the committer. It ends when the index is closing and the queue empty.
func (x *Index) run() {
	defer close(x.ended)
	var batch []*request
	for {
		batch = x.take(batch[:0])
		if len(batch) == 0 {
			x.finish()
			return
		}
		x.process(batch)
		for _, r := range batch {
			r.done <- struct{}{}
		}
		x.tell()
		clear(batch)
	}
}

// finish makes the file the whole index and ends the flusher.
func (x *Index) finish() {
	if x.quiet != nil {
		x.quiet.Stop()
	}
	if err := x.settle(); err != nil && !errors.Is(err, errFull) && x.halt() == nil {
		x.stop(nil, err)
	}
	close(x.frozen)
	<-x.drained
	x.background.Wait()
}

func (x *Index) settle() error {
	if x.halt() != nil || !x.log.inUse() {
		return nil
	}
	if err := x.drain(); err != nil {
		return err
	}
	return x.unnameLog()
}

// take waits for requests and takes up as many as one commit carries. None:
// the index is closing.
func (x *Index) take(batch []*request) []*request {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(batch) == 0 {
		for len(x.queue) == 0 {
			if x.closing {
				return nil
			}
			x.work.Wait()
			// Let those who are about to commit do it first: each that shares
			// the sync saves one.
			x.mu.Unlock()
			runtime.Gosched()
			x.mu.Lock()
		}
		n, ops, size := 0, 0, 0
		for _, r := range x.queue {
			ops, size = ops+r.ops, size+r.size
			if len(batch) > 0 && (ops > maxBatch || size > maxBatchBytes) {
				break
			}
			n++
			if r.taken.CompareAndSwap(requestWaiting, requestTaken) {
				batch = append(batch, r)
			}
		}
		rest := copy(x.queue, x.queue[n:])
		clear(x.queue[rest:])
		x.queue = x.queue[:rest]
	}
	return batch
}

// process brings a batch to its end: every request gets its result.
func (x *Index) process(batch []*request) {
	if err := x.halt(); err != nil {
		for _, r := range batch {
			r.fail(err)
		}
		return
	}
	switch err := x.commit(batch); {
	case err == nil:
	case errors.Is(err, errFull):
		for _, r := range batch {
			r.fail(err)
		}
	default:
		x.stop(batch, err)
	}
}

// commit commits a batch, through the log if possible.
func (x *Index) commit(batch []*request) error {
	var d demand
	for _, r := range batch {
		if r.idle {
			x.rest()
		}
		d.plus(r.demand)
	}
	if len(batch) == 1 && batch[0].idle {
		return nil
	}
	ok, err := x.ready(d)
	switch {
	case err != nil:
		return err
	case ok:
		return x.logged(batch)
	}
	if err := x.drain(); err != nil {
		return err
	}
	return x.direct(batch)
}

// ready sees to it that a demand can go to the log: that there is room in the
// active generation, and in the file for what it will hold then. Not ok: it
// cannot.
func (x *Index) ready(d demand) (ok bool, err error) {
	d.plus(recordDemand)
	if int64(max(d.size, d.ops*bytesPerOperation)) > x.log.size {
		return false, nil
	}
	g := x.active
	if g != nil && (len(g.data)-g.used < d.size || g.table.room() < d.ops) {
		if g.batches > 0 {
			x.want = min(2*x.want, x.log.size)
		}
		x.freeze()
	}
	if x.active == nil {
		if ok, err := x.activate(d); !ok {
			return false, err
		}
	}
	for {
		x.gate.Lock()
		room, total := x.store.room, d.cost
		for _, g := range x.gens {
			total.plus(g.cost.whole(room.used.Load()))
		}
		x.gate.Unlock()
		if room.holds(total) {
			return true, nil
		}
		if err := room.grow(); isNoSpace(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
}

// logged carries a batch out in the active generation and appends it to the
// log.
func (x *Index) logged(batch []*request) error {
	g := x.active
	from, ops := g.used, x.op
	g.used += recordHeader
	p, err := x.carryOut(batch, g)
	if err != nil {
		return err
	}
	if p.applied == 0 {
		g.used = from
		x.publish(p)
		return nil
	}
	closeRecord(g.data[from:g.used], recordMeta{
		log:    x.log.id,
		number: x.log.number + 1,
		before: x.head.Revision,
		after:  p.head.Revision,
		ops:    p.op - ops,
	})
	end, effects := align(g.used), g.data[from+recordHeader:g.used]
	clear(g.data[g.used:end])
	g.used = end
	if written, err := x.log.append(g.segment, g.data[from:end], from); err != nil {
		// Until the next start, readers see what it will find: it would be
		// wrong to deny what is there then.
		if !x.log.revoke(g.segment, from) && written {
			x.show(p)
		}
		return err
	}
	x.log.number++
	g.batches, g.last = g.batches+1, x.log.number
	g.pending.Store(int64(g.used))
	x.show(p)
	x.publish(p)
	x.toTell(effects)
	x.watch()
	return nil
}

// show lets readers see what a pass did.
func (x *Index) show(p *pass) {
	x.gate.Lock()
	defer x.gate.Unlock()
	x.visible = p.op
}

// carryOut adds a batch, and the head that it leads to, to a generation.
func (x *Index) carryOut(batch []*request, g *generation) (*pass, error) {
	s := snapshots.Get().(*snapshot)
	defer snapshots.Put(s)
	p := &pass{snapshot: s, gen: g, op: x.op, head: x.head, sealer: x.sealer}
	err := guard(func() error {
		// With a view of its own it sees what became of the file's first pages.
		if err := x.begin(s, true); err != nil {
			return err
		}
		defer x.end(s)
		s.seq = newest
		if g.segment == noSegment { // all others are in the file
			s.gens = append(s.gens, g)
			g.readers++
		}
		for _, r := range batch {
			if err := p.run(r); err != nil {
				return err
			}
		}
		if p.applied > 0 {
			p.head.Time = time.Now().UnixMicro()
			head := x.sealer.SealHead(p.head)
			if len(head) > maxHead {
				return fmt.Errorf("head of %d bytes", len(head))
			}
			copy(p.put(bucketMeta, metaHead, len(head)), head)
		}
		return nil
	})
	p.snapshot = nil
	return p, err
}

// direct commits a batch to the file, which holds all that was committed
// before.
func (x *Index) direct(batch []*request) error {
	for {
		err := x.try(batch, false)
		if !errors.Is(err, berrors.ErrMaxSizeReached) {
			return err
		}
		// bbolt wrote nothing. Make room and try the same again.
		if err := x.current().room.grow(); isNoSpace(err) {
			return x.squeeze(batch)
		} else if err != nil {
			return err
		}
	}
}

// squeeze commits what still fits into the file of a full volume, request by
// request, letting those that give back use the reserve.
func (x *Index) squeeze(batch []*request) error {
	for i := range batch {
		one := batch[i : i+1]
		err := x.try(one, one[0].givesBack)
		switch {
		case errors.Is(err, berrors.ErrMaxSizeReached):
			one[0].fail(errFull)
		case err != nil:
			x.stop(batch[i:], err) // those before have their results
			return nil
		}
	}
	return nil
}

// try commits a batch to the file, which may use its reserve if the batch gives
// back. An error concerns the batch as a whole: berrors.ErrMaxSizeReached if it needs more
// room and nothing was written, else the failed write.
func (x *Index) try(batch []*request, givesBack bool) error {
	d := recordDemand
	for _, r := range batch {
		d.plus(r.demand)
	}
	g := &generation{segment: noSegment}
	if err := g.prepare(d.size, d.ops); err != nil {
		return err
	}
	defer g.release()
	p, err := x.carryOut(batch, g)
	if err != nil {
		return err
	}
	if p.applied == 0 {
		x.publish(p)
		return nil
	}
	x.writer.Lock()
	defer x.writer.Unlock()
	err = x.write(givesBack, func(tx *bbolt.Tx) error { return load(tx, g, nil) }, func(tx *bbolt.Tx) error {
		// bbolt shows a commit to new readers before its sync is over.
		x.gate.Lock()
		defer x.gate.Unlock()
		return tx.Commit()
	})
	if err == nil {
		x.followed(g)
		x.publish(p)
		x.toTell(g.data[:g.used])
		x.tell() // while there is that memory
	}
	return err
}

// publish makes a finished pass known to those who ask the index itself.
func (x *Index) publish(p *pass) {
	x.refused.Add(uint64(p.refused))
	if p.applied == 0 {
		return
	}
	x.op = p.op
	x.commits.Add(1)
	x.transactions.Add(uint64(p.txns))
	x.batches[min(bits.Len(uint(max(p.txns, 1)-1)), len(x.batches)-1)].Add(1)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.follower != nil && p.txns > 0 {
		x.untold = &told{by: x.follower, before: x.head.Revision, head: p.head}
	}
	if p.head.Seq != x.head.Seq {
		close(x.changed)
		x.changed = make(chan struct{})
	}
	x.head = p.head
}

// halt is why nothing is committed any more, nil while all is well.
func (x *Index) halt() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stopped
}

// stop ends all committing, for good, and fails a batch whose outcome nobody
// knows.
func (x *Index) stop(batch []*request, cause error) {
	x.mu.Lock()
	if x.stopped == nil {
		// cause is not wrapped: its kind, say ErrNoSpace, would tell callers
		// that nothing happened.
		x.stopped = fmt.Errorf("index: %w: %v: restart the server", efs.ErrStopped, cause)
		close(x.halted)
	}
	stopped := x.stopped
	x.mu.Unlock()
	for _, r := range batch {
		r.fail(fmt.Errorf("outcome unknown: %w", stopped))
	}
}

func (r *request) fail(err error) { r.committed, r.err = efs.Committed{}, err }
