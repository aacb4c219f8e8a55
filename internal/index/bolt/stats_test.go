package bolt

import (
	"testing"

	"github.com/efs-project/efs"
)

// TestSyncsAreCountedByTheirTransactions, in powers of two.
func TestSyncsAreCountedByTheirTransactions(t *testing.T) {
	x, _, _ := faulty(t)
	mustCommit(t, x, &efs.Txn{Mutations: []efs.Mutation{record1("one", 1)}})
	for _, n := range []int{0, 2, 3, 4, 5, 512, 513, 1000, 5000} { // 0: housekeeping
		x.publish(&pass{applied: 1, txns: n, head: x.head, op: x.op})
	}
	s := x.Stats()
	want := [len(s.Batches)]uint64{2, 1, 2, 1, 0, 0, 0, 0, 0, 1, 3}
	if s.Batches != want || s.Commits != 10 {
		t.Errorf("%d syncs, %v, want %v", s.Commits, s.Batches, want)
	}
}
