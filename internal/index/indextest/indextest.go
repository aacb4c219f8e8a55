// Package indextest is what every efs.Index must pass: a test for each
// sentence of its contract, a comparison with a model under random operations,
// and one under concurrent writers.
package indextest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/efs-project/efs"
)

// FS is the file system that the indexes under test belong to.
var FS = efs.ID{0xef, 0x5f, 1}

// Opener opens the store of one test, making it the first time. What it opened
// before has been closed.
type Opener func() (efs.Index, error)

// Sealer returns a HeadSealer under a key that secret stands for. Its heads
// are readable and authenticated; those of the product are sealed.
func Sealer(secret string) efs.HeadSealer { return sealer(secret) }

type sealer []byte

func (s sealer) Link(prev [32]byte, seq uint64, sealed []byte) (link [32]byte) {
	m := hmac.New(sha256.New, s)
	m.Write(prev[:])
	m.Write(binary.BigEndian.AppendUint64(nil, seq))
	m.Write(sealed)
	m.Sum(link[:0])
	return link
}

func (s sealer) SealHead(h efs.Head) []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // a Head has only numbers and bytes
	}
	return append(s.sum(b), b...)
}

func (s sealer) OpenHead(b []byte) (h efs.Head, err error) {
	if len(b) < sha256.Size || !hmac.Equal(b[:sha256.Size], s.sum(b[sha256.Size:])) {
		return h, efs.ErrDamaged
	}
	if err := json.Unmarshal(b[sha256.Size:], &h); err != nil {
		return h, fmt.Errorf("%w: %w", efs.ErrDamaged, err)
	}
	return h, nil
}

func (s sealer) sum(b []byte) []byte {
	m := hmac.New(sha256.New, s)
	m.Write([]byte("head"))
	m.Write(b)
	return m.Sum(nil)
}

// Run runs the suite. newStore makes a store that lasts as long as its test;
// its heads are sealed by Sealer("indextest").
func Run(t *testing.T, newStore func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		run  func(*harness)
	}{
		{"GetReturnsRecordsInOrder", getReturnsRecordsInOrder},
		{"ReturnedMemoryIsTheCallers", returnedMemoryIsTheCallers},
		{"ScanIsOrderedAndPaged", scanIsOrderedAndPaged},
		{"SpacesAreApart", spacesAreApart},
		{"ChecksHoldOrNothingHappens", checksHoldOrNothingHappens},
		{"CheckNoneUnderSeesTheTransactionsBefore", checkNoneUnder},
		{"VersionsAreNeverUsedTwice", versionsAreNeverUsedTwice},
		{"BadTransactionsAreRefused", badTransactionsAreRefused},
		{"LargeTransactionsAreWhole", largeTransactionsAreWhole},
		{"LargeValues", largeValues},
		{"CancelledBeforeBeingTakenUp", cancelledBeforeBeingTakenUp},
		{"ChangesAreLinkedAndOrdered", changesAreLinkedAndOrdered},
		{"CommittedSaysWhere", committedSaysWhere},
		{"CommittedWakesFollowers", committedWakesFollowers},
		{"TrimmedLogIsTruncated", trimmedLogIsTruncated},
		{"TrimHonoursFollowers", trimHonoursFollowers},
		{"ReleasesAreQueuedInOrder", releasesAreQueuedInOrder},
		{"HoldsProtectReleases", holdsProtectReleases},
		{"MarksLastAndExpire", marksLastAndExpire},
		{"UsageAndQuota", usageAndQuota},
		{"FollowerIsToldOfAllInOrder", followerIsToldOfAllInOrder},
		{"FollowerIsToldOfLargeTransactions", followerIsToldOfLargeTransactions},
		{"FollowingEnds", followingEnds},
		{"OneOfManyWritersWins", oneOfManyWritersWins},
		{"ConcurrentWritersAllCount", concurrentWritersAllCount},
		{"RefusedTransactionsFailNoOther", refusedTransactionsFailNoOther},
		{"ReadersSeeOneMoment", readersSeeOneMoment},
		{"EverythingLastsOverReopening", everythingLasts},
		{"HeadFollowsCommits", headFollowsCommits},
		{"SnapshotStaysAsItWas", snapshotStaysAsItWas},
		{"SnapshotsAreApart", snapshotsAreApart},
		{"SnapshotsAreOfOneCommit", snapshotsAreOfOneCommit},
		{"StatsCount", statsCount},
		{"ClosedIndexRefuses", closedIndexRefuses},
		{"CloseFinishesWhatIsQueued", closeFinishesWhatIsQueued},
		{"BehavesLikeItsModel", behavesLikeItsModel},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &harness{T: t, opener: newStore(t)}
			h.open()
			t.Cleanup(func() {
				if err := h.x.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.run(h)
		})
	}
}

// harness is an index under test, with the calls that tests make all the time.
type harness struct {
	*testing.T
	opener Opener
	x      efs.Index
}

func (h *harness) open() {
	h.Helper()
	x, err := h.opener()
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	h.x = x
}

func (h *harness) reopen() {
	h.Helper()
	h.ok(h.x.Close())
	h.open()
}

func (h *harness) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) want(err, kind error) {
	h.Helper()
	if !errors.Is(err, kind) {
		h.Fatalf("error %v, want %v", err, kind)
	}
}

func (h *harness) commit(txn efs.Txn) efs.Committed {
	h.Helper()
	c, err := h.x.Commit(h.Context(), &txn)
	h.ok(err)
	return c
}

func (h *harness) get(keys ...efs.Key) []efs.Record {
	h.Helper()
	records, err := h.x.Get(h.Context(), keys...)
	h.ok(err)
	return records
}

func (h *harness) value(k efs.Key) string {
	h.Helper()
	return string(h.get(k)[0].Sealed)
}

func (h *harness) changes(since uint64, limit int) []efs.SealedChange {
	h.Helper()
	c, err := h.x.Changes(h.Context(), since, limit)
	h.ok(err)
	return c
}

func (h *harness) bounds() (first, last uint64) {
	h.Helper()
	first, last, err := h.x.LogBounds(h.Context())
	h.ok(err)
	return first, last
}

func entry(k string) efs.Key { return key(efs.SpaceEntries, k) }

func key(s efs.Space, k string) efs.Key { return efs.Key{Space: s, Bytes: []byte(k)} }

func put(k efs.Key, v string) efs.Mutation { return efs.Mutation{Key: k, Sealed: []byte(v)} }

func puts(k efs.Key, v string) efs.Txn { return efs.Txn{Mutations: []efs.Mutation{put(k, v)}} }

func change(s string) [][]byte { return [][]byte{[]byte(s)} }

var background = context.Background()
