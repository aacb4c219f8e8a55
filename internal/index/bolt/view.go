package bolt

import (
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// fileView is a read transaction of the file. Readers share one for as long as
// the file is not written: to begin their own would be a third of what a
// lookup costs.
//
// bbolt wants a transaction used by one goroutine, since opening a bucket and
// ending a transaction change it. Here buckets are opened under Index.gate, and
// the last user ends it; what readers do at the same time, with cursors of
// their own in buckets that are open, changes nothing but bbolt's atomic
// counters.
type fileView struct {
	tx      *bbolt.Tx
	buckets [numBuckets]*bbolt.Bucket
	users   atomic.Int32 // its readers, and the store while it is shared; it ends with the last of them
}

// fileView returns the transaction for one more reader, one of its own if it
// wants that. x.gate is held.
func (x *Index) fileView(own bool) (v *fileView, err error) {
	st := x.store
	own = own || st.writing
	if v = st.shared; v == nil || own {
		err = guard(func() error {
			tx, err := st.db.Begin(false)
			if err != nil {
				return err
			}
			if v = (&fileView{tx: tx}); !own {
				v.openAll()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !own {
			v.users.Add(1)
			st.shared = v
		}
	}
	v.users.Add(1)
	return v, nil
}

// openAll opens all buckets, so that readers need not change the transaction.
func (v *fileView) openAll() {
	for b, name := range names {
		if name != nil {
			v.buckets[b] = v.tx.Bucket(name)
		}
	}
}

// bucket returns a bucket, which a view of one reader opens when it is first
// asked for.
func (v *fileView) bucket(b byte) *bbolt.Bucket {
	if v.buckets[b] == nil {
		v.buckets[b] = v.tx.Bucket(names[b])
	}
	return v.buckets[b]
}

// leave ends one use of a view. Readers must call it without x.gate: whoever
// holds that may be waiting for a writer that makes bbolt's map of the file
// longer, and the writer waits for them.
func (x *Index) leave(v *fileView) {
	if v.users.Add(-1) == 0 && !x.isWedged() {
		_ = v.tx.Rollback() // ends a reader; cannot fail
	}
}

// unshare lets nobody else share the view of a store. x.gate is held.
func (x *Index) unshare(st *store) {
	if v := st.shared; v != nil {
		st.shared = nil
		x.leave(v)
	}
}

// writing notes the beginning or the end of a write. Meanwhile no view is
// shared: bbolt, where it has to grow its map of the file, waits until all
// readers have ended, and those who share one might never let it end.
func (x *Index) writing(st *store, now bool) {
	x.gate.Lock()
	defer x.gate.Unlock()
	st.writing = now
	x.unshare(st)
}
