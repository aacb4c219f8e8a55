package indextest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/efs-project/efs"
)

// copied is a follower that makes a copy of an index.
type copied struct {
	mu      sync.Mutex
	head    efs.Head
	records map[string]efs.Record // by space and key
	queue   map[string]efs.Release
	pending []func() // of a commit that has not ended
	broken  string   // the first commit that did not go on from the one before
	commits int
	moved   *sync.Cond
}

func newCopied() *copied {
	c := &copied{records: map[string]efs.Record{}, queue: map[string]efs.Release{}}
	c.moved = sync.NewCond(&c.mu)
	return c
}

func copyKey(k efs.Key) string { return string(byte(k.Space)) + string(k.Bytes) }

func copyQueue(r efs.Release) string { return fmt.Sprintf("%020d %s", r.Revision, r.Content) }

func (c *copied) Put(k efs.Key, version uint64, sealed []byte) {
	r := efs.Record{Key: bytes.Clone(k.Bytes), Version: version, Sealed: bytes.Clone(sealed)}
	name := copyKey(k)
	c.pending = append(c.pending, func() { c.records[name] = r })
}

func (c *copied) Delete(k efs.Key) {
	name := copyKey(k)
	c.pending = append(c.pending, func() { delete(c.records, name) })
}

func (c *copied) Queue(r efs.Release) {
	c.pending = append(c.pending, func() { c.queue[copyQueue(r)] = r })
}

func (c *copied) Unqueue(r efs.Release) {
	c.pending = append(c.pending, func() { delete(c.queue, copyQueue(r)) })
}

func (c *copied) Committed(before uint64, h efs.Head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (before != c.head.Revision || h.Revision <= before || h.Seq < c.head.Seq) && c.broken == "" {
		c.broken = fmt.Sprintf("commit from %d to %d, change %d, after %d, change %d", before, h.Revision, h.Seq, c.head.Revision, c.head.Seq)
	}
	for _, do := range c.pending {
		do()
	}
	c.pending, c.head = nil, h
	c.commits++
	c.moved.Broadcast()
}

// follow begins to follow the index.
func (c *copied) follow(h *harness) (stop func()) {
	h.Helper()
	head, stop, err := h.x.Follow(c)
	h.ok(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = head
	return stop
}

// await waits until the follower has been told of a revision.
func (c *copied) await(revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.head.Revision < revision {
		c.moved.Wait()
	}
}

// compare fails the test unless the copy is the index.
func (c *copied) compare(h *harness) {
	h.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != "" {
		h.Error(c.broken)
	}
	head, err := h.x.Head(h.Context())
	h.ok(err)
	if head.Revision != c.head.Revision || head.Seq != c.head.Seq || head.Link != c.head.Link {
		h.Errorf("told up to %+v, head is %+v", c.head, head)
	}
	records := map[string]efs.Record{}
	for space := efs.Space(1); int(space) <= efs.Spaces; space++ {
		all, err := h.x.Scan(h.Context(), space, nil, nil, 1<<20)
		h.ok(err)
		for _, r := range all {
			records[copyKey(efs.Key{Space: space, Bytes: r.Key})] = r
		}
	}
	same := func(a, b efs.Record) bool {
		return a.Version == b.Version && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Sealed, b.Sealed)
	}
	if !maps.EqualFunc(records, c.records, same) {
		h.Errorf("%d records were told, not the %d that there are", len(c.records), len(records))
	}
	queue, err := h.x.Queued(h.Context(), efs.Release{}, 1<<20)
	h.ok(err)
	var told []efs.Release
	for _, k := range slices.Sorted(maps.Keys(c.queue)) {
		told = append(told, c.queue[k])
	}
	if !slices.Equal(queue, told) {
		h.Errorf("queue of %d was told, %d there are", len(told), len(queue))
	}
}

// followerIsToldOfAllInOrder follows an index that many write to at once.
func followerIsToldOfAllInOrder(h *harness) {
	c := newCopied()
	defer c.follow(h)()
	const writers, rounds = 8, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				k := fmt.Sprint((w*7 + i) % 50)
				txn := efs.Txn{
					Mutations: []efs.Mutation{put(entry(k), strings.Repeat("v", i)), {Key: key(efs.SpaceFiles, fmt.Sprint(i%20))}, put(key(efs.SpaceInline, k), "")},
					Changes:   change("c"),
					Release:   []efs.Release{{Content: efs.NewID(), Inline: i%2 == 0}},
				}
				committed, err := h.x.Commit(h.Context(), &txn)
				if err == nil && i%3 == 0 {
					gone := efs.Release{Revision: committed.Revision, Content: txn.Release[0].Content}
					_, err = h.x.Commit(h.Context(), &efs.Txn{Unqueue: []efs.Release{gone}})
				}
				if err == nil && i%10 == 0 {
					err = h.x.SetMark(h.Context(), efs.Mark{Kind: efs.MarkFollower, Name: "m", Seq: committed.Seq})
				}
				if err != nil {
					h.Error(err)
				}
				_, _ = h.x.Commit(h.Context(), &efs.Txn{ // refused: nobody is told
					Checks: []efs.Check{{Kind: efs.CheckPresent, Key: entry("none")}}, Mutations: []efs.Mutation{put(entry("never"), "v")}})
			}
		})
	}
	wg.Wait()
	head, err := h.x.Head(h.Context())
	h.ok(err)
	c.await(head.Revision)
	c.compare(h)
}

// followerIsToldOfLargeTransactions: of those that go another way to the disk.
func followerIsToldOfLargeTransactions(h *harness) {
	c := newCopied()
	defer c.follow(h)()
	h.commit(puts(entry("before"), "v"))
	large := puts(entry("large"), strings.Repeat("x", 9<<20))
	for i := range 5000 {
		large.Mutations = append(large.Mutations, put(key(efs.SpaceNames, fmt.Sprint(i)), "v"))
	}
	h.commit(large)
	last := h.commit(puts(entry("after"), "v"))
	c.await(last.Revision)
	c.compare(h)
}

func followingEnds(h *harness) {
	c := newCopied()
	h.commit(puts(entry("k"), "before"))
	stop := c.follow(h)
	_, _, err := h.x.Follow(newCopied())
	h.want(err, efs.ErrExists)
	first := h.commit(puts(entry("k"), "v"))
	c.await(first.Revision)
	stop()
	h.commit(puts(entry("k"), "later"))
	if c.commits != 1 {
		h.Errorf("told of %d commits, not of the one while it followed", c.commits)
	}

	again := newCopied()
	stop = again.follow(h)
	last := h.commit(puts(entry("k"), "last"))
	again.await(last.Revision)
	h.reopen()
	stop() // of an index that is closed: no harm
	h.commit(puts(entry("k"), "of another"))
	if again.commits != 1 || again.broken != "" {
		h.Errorf("told of %d commits; %s", again.commits, again.broken)
	}
	_, end, err := h.x.Follow(again)
	h.ok(err)
	end()
}
