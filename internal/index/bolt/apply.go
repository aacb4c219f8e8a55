package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/efs-project/efs"
)

// pass is one attempt to carry out a batch: it adds what the batch does to a
// generation, where only its own snapshot sees it so far.
type pass struct {
	*snapshot
	gen     *generation
	op      uint64 // of the last operation added
	sealer  efs.HeadSealer
	head    efs.Head // as of the requests applied so far
	applied int      // requests, housekeeping included
	txns    int      // of them transactions
	refused int
}

// run applies one request and sets its result. Its own error is that of the
// whole pass.
func (p *pass) run(r *request) error {
	r.committed, r.err = efs.Committed{}, nil
	switch {
	case r.idle:
		return nil
	case r.job != nil:
		p.applied++
		return r.job(p)
	}
	usage, err := p.admit(r.txn)
	if err != nil {
		r.err = err
		p.refused++
		return nil
	}
	p.apply(r.txn, usage)
	r.committed = efs.Committed{Revision: p.head.Revision, Seq: p.head.Seq}
	p.applied++
	p.txns++
	return nil
}

// put sets a key and returns where its value of n bytes goes.
func (p *pass) put(bucket byte, key []byte, n int) []byte {
	p.op++
	return p.gen.put(p.op, bucket, key, n)
}

// delete deletes a key, whether or not it is there.
func (p *pass) delete(bucket byte, key []byte) {
	p.op++
	p.gen.delete(p.op, bucket, key)
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
			if u, err = parseUsage(p.get(bucketUsage, d.Account[:])); err != nil {
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
	b := byte(c.Key.Space)
	switch c.Kind {
	case efs.CheckNoneUnder:
		_, k, v := p.seek(b, c.Key.Bytes)
		if k == nil || !bytes.HasPrefix(k, c.Key.Bytes) {
			return 0, true
		}
		return recordVersion(v), false
	case efs.CheckPresent:
		version = recordVersion(p.get(b, c.Key.Bytes))
		return version, version != 0
	default: // CheckVersion; others were refused by newRequest
		version = recordVersion(p.get(b, c.Key.Bytes))
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
func (p *pass) apply(t *efs.Txn, usage map[efs.ID]efs.Usage) {
	p.head.Revision++
	for i := range t.Mutations {
		p.mutate(&t.Mutations[i])
	}
	p.log(t.Changes)
	p.enqueue(t)
	for account, u := range usage {
		if u == (efs.Usage{}) {
			p.delete(bucketUsage, account[:])
		} else {
			copy(p.put(bucketUsage, account[:], usageLen), usageValue(u))
		}
	}
}

func (p *pass) mutate(m *efs.Mutation) {
	b := byte(m.Key.Space)
	if m.Sealed == nil {
		p.delete(b, m.Key.Bytes)
		return
	}
	v := p.put(b, m.Key.Bytes, versionLen+len(m.Sealed))
	binary.BigEndian.PutUint64(v, p.head.Revision)
	copy(v[versionLen:], m.Sealed)
}

// log appends changes, each linked to the one before.
func (p *pass) log(changes [][]byte) {
	for _, sealed := range changes {
		p.head.Seq++
		p.head.Link = p.sealer.Link(p.head.Link, p.head.Seq, sealed)
		v := p.put(bucketChanges, seqKey(p.head.Seq), linkLen+len(sealed))
		copy(v, p.head.Link[:])
		copy(v[linkLen:], sealed)
	}
}

// enqueue keeps the release queue.
func (p *pass) enqueue(t *efs.Txn) {
	for _, r := range t.Release {
		r.Revision, r.Seq = p.head.Revision, p.head.Seq
		copy(p.put(bucketQueue, queueKey(r), queueValueLen), queueValue(r, len(t.Changes) == 0))
	}
	for _, r := range t.Unqueue {
		p.delete(bucketQueue, queueKey(r))
	}
}
