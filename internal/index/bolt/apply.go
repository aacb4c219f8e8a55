package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

// pass is one attempt to carry a batch through a bbolt transaction.
type pass struct {
	tx      *bbolt.Tx
	sealer  efs.HeadSealer
	head    efs.Head // as of the requests applied so far
	spaces  [efs.Spaces + 1]*bbolt.Bucket
	buf     []byte // values lie in it until the transaction ends
	applied int    // requests, housekeeping included
	txns    int    // of them transactions
	refused int
}

// run applies one request and sets its result. Its own error is that of the
// whole pass.
func (p *pass) run(r *request) error {
	if r.job != nil {
		p.applied++
		return r.job(p)
	}
	usage, err := p.admit(r.txn)
	if err != nil {
		r.err = err
		p.refused++
		return nil
	}
	if err := p.apply(r.txn, usage); err != nil {
		return err
	}
	r.committed = efs.Committed{Revision: p.head.Revision, Seq: p.head.Seq}
	p.applied++
	p.txns++
	return nil
}

// admit tells whether a transaction may be applied, and what its accounts will
// then use. It changes nothing.
func (p *pass) admit(t *efs.Txn) (map[efs.ID]efs.Usage, error) {
	for i := range t.Checks {
		if version, ok := p.holds(&t.Checks[i]); !ok {
			return nil, &efs.CheckError{Check: i, Version: version}
		}
	}
	if len(t.Usage) == 0 {
		return nil, nil
	}
	usage := make(map[efs.ID]efs.Usage, len(t.Usage))
	for _, d := range t.Usage {
		u, ok := usage[d.Account]
		if !ok {
			var err error
			if u, err = parseUsage(p.tx.Bucket(bucketUsage).Get(d.Account[:])); err != nil {
				return nil, err
			}
		}
		u, err := charge(u, d)
		if err != nil {
			return nil, err
		}
		usage[d.Account] = u
	}
	return usage, nil
}

// holds reports whether a check holds, and the version that it found.
func (p *pass) holds(c *efs.Check) (version uint64, ok bool) {
	b := p.bucket(c.Key.Space)
	switch c.Kind {
	case efs.CheckNoneUnder:
		k, v := b.Cursor().Seek(c.Key.Bytes)
		if k == nil || !bytes.HasPrefix(k, c.Key.Bytes) {
			return 0, true
		}
		return recordVersion(v), false
	case efs.CheckPresent:
		version = recordVersion(b.Get(c.Key.Bytes))
		return version, version != 0
	default: // CheckVersion; others were refused by newRequest
		version = recordVersion(b.Get(c.Key.Bytes))
		return version, version == c.Version
	}
}

// charge adds a delta to what an account uses. efs.ErrQuota if that passes a
// bound in a direction in which the delta adds.
func charge(u efs.Usage, d efs.Delta) (efs.Usage, error) {
	bytes, err := add(u.Bytes, d.Bytes, d.MaxBytes)
	if err != nil {
		return u, fmt.Errorf("%w: %d bytes of %d in use", err, u.Bytes, d.MaxBytes)
	}
	files, err := add(u.Files, d.Files, d.MaxFiles)
	if err != nil {
		return u, fmt.Errorf("%w: %d files of %d in use", err, u.Files, d.MaxFiles)
	}
	return efs.Usage{Bytes: bytes, Files: files}, nil
}

func add(have, delta, bound int64) (int64, error) {
	if delta > 0 && (have > math.MaxInt64-delta || bound > 0 && have+delta > bound) {
		return have, efs.ErrQuota
	}
	if delta < 0 && have < math.MinInt64-delta {
		return have, efs.ErrBadInput
	}
	return have + delta, nil
}

// apply carries out a transaction that has been admitted.
func (p *pass) apply(t *efs.Txn, usage map[efs.ID]efs.Usage) error {
	p.head.Revision++
	for i := range t.Mutations {
		if err := p.mutate(&t.Mutations[i]); err != nil {
			return err
		}
	}
	if err := p.log(t.Changes); err != nil {
		return err
	}
	if err := p.enqueue(t); err != nil {
		return err
	}
	b := p.tx.Bucket(bucketUsage)
	for account, u := range usage {
		var err error
		if u == (efs.Usage{}) {
			err = b.Delete(account[:])
		} else {
			err = b.Put(account[:], usageValue(u))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) mutate(m *efs.Mutation) error {
	b := p.bucket(m.Key.Space)
	if m.Sealed == nil {
		return b.Delete(m.Key.Bytes)
	}
	v := p.alloc(versionLen + len(m.Sealed))
	binary.BigEndian.PutUint64(v, p.head.Revision)
	copy(v[versionLen:], m.Sealed)
	return b.Put(m.Key.Bytes, v)
}

// log appends changes, each linked to the one before.
func (p *pass) log(changes [][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	b := p.tx.Bucket(bucketChanges)
	b.FillPercent = appendFill
	for _, sealed := range changes {
		p.head.Seq++
		p.head.Link = p.sealer.Link(p.head.Link, p.head.Seq, sealed)
		v := p.alloc(linkLen + len(sealed))
		copy(v, p.head.Link[:])
		copy(v[linkLen:], sealed)
		if err := b.Put(seqKey(p.head.Seq), v); err != nil {
			return err
		}
	}
	return nil
}

// enqueue keeps the release queue.
func (p *pass) enqueue(t *efs.Txn) error {
	if len(t.Release)+len(t.Unqueue) == 0 {
		return nil
	}
	b := p.tx.Bucket(bucketQueue)
	b.FillPercent = appendFill
	for _, r := range t.Release {
		r.Revision, r.Seq = p.head.Revision, p.head.Seq
		if err := b.Put(queueKey(r), queueValue(r, len(t.Changes) == 0)); err != nil {
			return err
		}
	}
	for _, r := range t.Unqueue {
		if err := b.Delete(queueKey(r)); err != nil {
			return err
		}
	}
	return nil
}

// bucket returns the bucket of a keyspace, looked up once in a pass.
func (p *pass) bucket(s efs.Space) *bbolt.Bucket {
	b := p.spaces[s]
	if b == nil {
		b = p.tx.Bucket(spaceNames[s])
		if appended[s] {
			b.FillPercent = appendFill
		}
		p.spaces[s] = b
	}
	return b
}

// alloc returns n bytes that stay until the pass ends, as bbolt keeps the
// values it is handed and copies them only when it commits.
func (p *pass) alloc(n int) []byte {
	if cap(p.buf)-len(p.buf) < n {
		p.buf = make([]byte, 0, max(n, minValues, min(2*cap(p.buf), maxValues)))
	}
	from := len(p.buf)
	p.buf = p.buf[:from+n]
	return p.buf[from : from+n : from+n]
}

// The buffer of values is used again by the next pass, up to a length: it was
// a third of all that a commit allocates.
const (
	minValues = 64 << 10
	maxValues = 1 << 20
)
