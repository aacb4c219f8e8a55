package bolt

import (
	"fmt"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

// maxValue bounds what a record or a change may hold; far above what is
// sealed into an index, far below what bbolt takes.
const maxValue = 64 << 20

// newRequest checks that a transaction can be carried out at all, so that
// nothing but the disk can fail once it is being applied. efs.ErrBadInput.
func newRequest(t *efs.Txn) (*request, error) {
	for i := range t.Checks {
		c := &t.Checks[i]
		if c.Kind < efs.CheckVersion || c.Kind > efs.CheckNoneUnder {
			return nil, fmt.Errorf("check %d: unknown kind %d: %w", i, c.Kind, efs.ErrBadInput)
		}
		if err := checkKey(c.Key, c.Kind == efs.CheckNoneUnder); err != nil {
			return nil, fmt.Errorf("check %d: %w", i, err)
		}
	}
	r := &request{txn: t}
	for range t.Usage {
		r.add(bucketUsage, len(efs.ID{}), usageLen)
	}
	for range t.Release {
		r.add(bucketQueue, queueKeyLen, queueValueLen)
	}
	for range t.Unqueue {
		r.remove(bucketQueue, queueKeyLen)
	}
	deletes, puts := len(t.Unqueue), 0
	for i := range t.Mutations {
		m := &t.Mutations[i]
		if err := checkKey(m.Key, false); err != nil {
			return nil, fmt.Errorf("mutation %d: %w", i, err)
		}
		if len(m.Sealed) > maxValue {
			return nil, fmt.Errorf("mutation %d: %d bytes, at most %d: %w", i, len(m.Sealed), maxValue, efs.ErrBadInput)
		}
		if m.Sealed == nil {
			r.remove(byte(m.Key.Space), len(m.Key.Bytes))
			deletes++
			continue
		}
		r.add(byte(m.Key.Space), len(m.Key.Bytes), versionLen+len(m.Sealed))
		if m.Key.Space != efs.SpaceAccess {
			puts++
		}
	}
	for i, c := range t.Changes {
		if len(c) > maxValue {
			return nil, fmt.Errorf("change %d: %d bytes, at most %d: %w", i, len(c), maxValue, efs.ErrBadInput)
		}
		r.add(bucketChanges, seqLen, linkLen+len(c))
	}
	// Writes of access records alone have no puts, and may use the reserve
	// like deletes; see the package comment.
	r.givesBack = len(t.Mutations)+len(t.Unqueue) > 0 && deletes >= puts
	return r, nil
}

// demand is what requests take of a generation and of the file.
type demand struct {
	ops  int
	size int // of the record, header and all
	cost cost
}

func (d *demand) plus(e demand) {
	d.ops, d.size = d.ops+e.ops, d.size+e.size
	d.cost.plus(e.cost)
}

// add counts an operation.
func (d *demand) add(bucket byte, key, value int) {
	d.ops++
	d.size += opSize(key, value)
	d.cost.add(bucket, key, uint32(value))
}

// remove counts an operation that deletes.
func (d *demand) remove(bucket byte, key int) {
	d.ops++
	d.size += opSize(key, 0)
	d.cost.add(bucket, key, tombstone)
}

// maxHead bounds a sealed head.
const maxHead = 4096

// recordDemand is what a record takes besides its requests.
var recordDemand = func() (d demand) {
	d.add(bucketMeta, len(metaHead), maxHead)
	d.size += recordHeader + recordAlign
	return d
}()

// housekeeping makes a request of a job that deletes up to n keys of up to
// keyLen bytes, and puts one that is no longer.
func housekeeping(n, keyLen int, job func(*pass) error) *request {
	r := &request{job: job, givesBack: true}
	for range n {
		r.remove(bucketMarks, keyLen)
	}
	r.add(bucketMarks, keyLen, markValueLen)
	return r
}

// checkKey refuses keyspaces that do not exist and keys that bbolt would not
// take. An empty prefix is one that every key has.
func checkKey(k efs.Key, prefix bool) error {
	if k.Space < 1 || int(k.Space) > efs.Spaces {
		return fmt.Errorf("unknown keyspace %d: %w", k.Space, efs.ErrBadInput)
	}
	if len(k.Bytes) == 0 && !prefix || len(k.Bytes) > bbolt.MaxKeySize {
		return fmt.Errorf("key of %d bytes: %w", len(k.Bytes), efs.ErrBadInput)
	}
	return nil
}
