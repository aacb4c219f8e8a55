package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	maxBatch      = 1000     // mutations in a commit, but for a single larger transaction
	maxBatchBytes = 16 << 20 // of values, likewise
)

// request is one transaction, or one step of housekeeping, on its way through
// the committer.
type request struct {
	txn       *efs.Txn
	job       func(*pass) error // instead of txn; must not fail for what its caller gave
	givesBack bool              // may use the reserve
	weight    int               // mutations
	bytes     int               // of values

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
			return
		}
		x.process(batch)
		for _, r := range batch {
			r.done <- struct{}{}
		}
		clear(batch)
	}
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
		}
		n, weight, bytes := 0, 0, 0
		for _, r := range x.queue {
			weight, bytes = weight+r.weight, bytes+r.bytes
			if len(batch) > 0 && (weight > maxBatch || bytes > maxBatchBytes) {
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
	x.mu.Lock()
	stopped := x.stopped
	x.mu.Unlock()
	if stopped != nil {
		for _, r := range batch {
			r.fail(stopped)
		}
		return
	}
	for {
		err := x.try(batch, x.room.limit(false))
		switch {
		case err == nil:
			return
		case !errors.Is(err, berrors.ErrMaxSizeReached):
			x.stop(batch, err)
			return
		}
		// bbolt wrote nothing. Make room and try the same again.
		if err := x.room.grow(); isNoSpace(err) {
			x.squeeze(batch)
			return
		} else if err != nil {
			x.stop(batch, err)
			return
		}
	}
}

// squeeze commits what still fits into the file of a full volume, request by
// request, letting those that give back use the reserve.
func (x *Index) squeeze(batch []*request) {
	for i := range batch {
		one := batch[i : i+1]
		err := x.try(one, x.room.limit(one[0].givesBack))
		switch {
		case errors.Is(err, berrors.ErrMaxSizeReached):
			one[0].fail(fmt.Errorf("index file cannot grow: make room on its volume: %w", efs.ErrNoSpace))
		case err != nil:
			x.stop(batch[i:], err)
			return
		}
	}
}

// try applies a batch and commits it, with the file no longer than limit. An
// error concerns the batch as a whole: berrors.ErrMaxSizeReached if it needs
// more room and nothing was written, else the failed write.
func (x *Index) try(batch []*request, limit int) error {
	p := pass{head: x.head, sealer: x.sealer, buf: x.values} // only this goroutine changes either
	x.values = nil
	err := guard(func() error { return x.commit(&p, batch, limit) })
	if !errors.Is(err, errPanicked) && cap(p.buf) <= maxValues {
		x.values = p.buf[:0] // the transaction is over, and with it whatever referred to this
	}
	if err != nil {
		return err
	}
	x.publish(&p)
	return nil
}

// commit runs a batch through one bbolt transaction. Whoever calls it holds
// no lock, as the sync at its end takes milliseconds.
func (x *Index) commit(p *pass, batch []*request, limit int) error {
	if x.isWedged() {
		return errWedged
	}
	tx, err := x.begin()
	if err != nil {
		return err
	}
	// After tx.Commit this does nothing; after a panic in it, it lets go of
	// bbolt's lock, so that Close does not wait for ever.
	defer func() {
		if errors.Is(guard(tx.Rollback), errPanicked) {
			x.setWedged()
		}
	}()
	x.db.MaxSize = limit // read by this goroutine alone, when it allocates pages
	p.tx = tx
	for _, r := range batch {
		r.committed, r.err = efs.Committed{}, nil
		if err := p.run(r); err != nil {
			return err
		}
	}
	if p.applied == 0 {
		return nil
	}
	p.head.Time = time.Now().UnixMicro()
	if err := tx.Bucket(bucketMeta).Put(metaHead, x.sealer.SealHead(p.head)); err != nil {
		return err
	}
	if err := x.room.fault("commit"); err != nil {
		return err
	}
	return tx.Commit()
}

func (x *Index) begin() (tx *bbolt.Tx, err error) {
	err = guard(func() error { tx, err = x.db.Begin(true); return err })
	if errors.Is(err, errPanicked) {
		x.setWedged()
	}
	return tx, err
}

// publish makes a finished pass visible to those who ask the index itself.
func (x *Index) publish(p *pass) {
	x.refused.Add(uint64(p.refused))
	if p.applied == 0 {
		return
	}
	x.commits.Add(1)
	x.transactions.Add(uint64(p.txns))
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.head.Seq != x.head.Seq {
		close(x.changed)
		x.changed = make(chan struct{})
	}
	x.head = p.head
}

// stop ends all committing, for good, and fails a batch whose outcome nobody
// knows.
func (x *Index) stop(batch []*request, cause error) {
	x.mu.Lock()
	if x.stopped == nil {
		// cause is not wrapped: its kind, say ErrNoSpace, would tell callers
		// that nothing happened.
		x.stopped = fmt.Errorf("index: %w: %v: restart the server", efs.ErrStopped, cause)
	}
	stopped := x.stopped
	x.mu.Unlock()
	for _, r := range batch {
		r.fail(fmt.Errorf("outcome unknown: %w", stopped))
	}
}

func (r *request) fail(err error) { r.committed, r.err = efs.Committed{}, err }
