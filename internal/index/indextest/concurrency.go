package indextest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
)

func oneOfManyWritersWins(h *harness) {
	k := entry("contested")
	for range 20 {
		version := h.get(k)[0].Version
		var won atomic.Int32
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				txn := puts(k, fmt.Sprint(w))
				txn.Checks = []efs.Check{{Kind: efs.CheckVersion, Key: k, Version: version}}
				_, err := h.x.Commit(h.Context(), &txn)
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, efs.ErrConflict):
					h.Errorf("writer: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			h.Fatalf("%d of 16 writers won", won.Load())
		}
	}
}

// concurrentWritersAllCount lets writers add to one counter, looking again
// whenever another was faster, while a follower reads the log.
func concurrentWritersAllCount(h *harness) {
	const writers, each = 8, 25
	k := entry("counter")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(h.x, k); err != nil {
					h.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	for seen := uint64(0); seen < writers*each && !h.Failed(); {
		wait := h.x.Committed()
		changes := h.changes(seen, 7)
		for _, c := range changes {
			if seen++; c.Seq != seen || binary.BigEndian.Uint64(c.Sealed) != seen {
				h.Errorf("change %d has seq %d and says %d", seen, c.Seq, binary.BigEndian.Uint64(c.Sealed))
			}
		}
		if len(changes) == 0 {
			select {
			case <-wait:
			case <-time.After(10 * time.Second):
				h.Fatalf("nothing after change %d", seen)
			}
		}
	}
	wg.Wait()
	if n := binary.BigEndian.Uint64(h.get(k)[0].Sealed); n != writers*each {
		h.Errorf("counter is %d, want %d", n, writers*each)
	}
}

func increment(x efs.Index, k efs.Key) error {
	for {
		records, err := x.Get(background, k)
		if err != nil {
			return err
		}
		n := uint64(1)
		if records[0].Version != 0 {
			n += binary.BigEndian.Uint64(records[0].Sealed)
		}
		value := binary.BigEndian.AppendUint64(nil, n)
		_, err = x.Commit(background, &efs.Txn{
			Checks:    []efs.Check{{Kind: efs.CheckVersion, Key: k, Version: records[0].Version}},
			Mutations: []efs.Mutation{{Key: k, Sealed: value}},
			Changes:   [][]byte{value},
		})
		if !errors.Is(err, efs.ErrConflict) {
			return err
		}
	}
}

func refusedTransactionsFailNoOther(h *harness) {
	account := efs.NewID()
	var wg sync.WaitGroup
	for w := range 48 {
		wg.Go(func() {
			txn := puts(entry(fmt.Sprint(w)), "v")
			want := error(nil)
			switch w % 3 {
			case 0:
				txn.Checks, want = []efs.Check{{Kind: efs.CheckPresent, Key: entry("none")}}, efs.ErrConflict
			case 1:
				txn.Usage, want = []efs.Delta{{Account: account, Bytes: 2, MaxBytes: 1}}, efs.ErrQuota
			}
			if _, err := h.x.Commit(h.Context(), &txn); !errors.Is(err, want) {
				h.Errorf("transaction %d: %v, want %v", w, err, want)
			}
		})
	}
	wg.Wait()
	for w := range 48 {
		if there := h.get(entry(fmt.Sprint(w)))[0].Version != 0; there != (w%3 == 2) {
			h.Errorf("record of transaction %d: %v", w, there)
		}
	}
}

func readersSeeOneMoment(h *harness) {
	a, b := entry("a"), key(efs.SpaceInline, "b")
	h.commit(efs.Txn{Mutations: []efs.Mutation{put(a, "0"), put(b, "0")}})
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				r, err := h.x.Get(h.Context(), a, b)
				if err != nil || string(r[0].Sealed) != string(r[1].Sealed) || r[0].Version != r[1].Version {
					h.Errorf("reader saw %v, %v", r, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		h.commit(efs.Txn{Mutations: []efs.Mutation{put(a, fmt.Sprint(i)), put(b, fmt.Sprint(i))}})
		if v := h.value(a); v != fmt.Sprint(i) {
			h.Errorf("after commit %d a reader sees %s", i, v)
		}
	}
	done.Store(true)
	wg.Wait()
}
