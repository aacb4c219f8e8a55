package bolt

import "go.etcd.io/bbolt"

// fileView is a read transaction of the file. Readers share one for as long as
// the file is not written: to begin their own would be a third of what a
// lookup costs.
//
// bbolt wants a transaction used by one goroutine, since opening a bucket and
// ending a transaction change it. Here both happen under Index.gate; what
// readers do at the same time, with cursors of their own in buckets that are
// open, changes nothing but bbolt's atomic counters.
type fileView struct {
	tx      *bbolt.Tx
	buckets [numBuckets]*bbolt.Bucket
	readers int  // guarded by Index.gate
	single  bool // nobody else joins: it ends with its last reader
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
			if v = (&fileView{tx: tx, single: own}); !own {
				v.openAll()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !own {
			st.shared = v
		}
	}
	v.readers++
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

// leave ends a reader's use of a view. x.gate is held.
func (x *Index) leave(v *fileView) {
	if v.readers--; v.single && v.readers == 0 {
		x.endView(v)
	}
}

// unshare lets nobody else share the view of a store. x.gate is held.
func (x *Index) unshare(st *store) {
	if v := st.shared; v != nil {
		st.shared, v.single = nil, true
		if v.readers == 0 {
			x.endView(v)
		}
	}
}

func (x *Index) endView(v *fileView) {
	if !x.isWedged() {
		_ = v.tx.Rollback() // ends a reader; cannot fail
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
