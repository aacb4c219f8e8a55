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
	r := &request{txn: t, weight: len(t.Mutations) + len(t.Changes) + len(t.Release) + len(t.Unqueue)}
	deletes, puts := len(t.Unqueue), 0
	for i := range t.Mutations {
		m := &t.Mutations[i]
		if err := checkKey(m.Key, false); err != nil {
			return nil, fmt.Errorf("mutation %d: %w", i, err)
		}
		if len(m.Sealed) > maxValue {
			return nil, fmt.Errorf("mutation %d: %d bytes, at most %d: %w", i, len(m.Sealed), maxValue, efs.ErrBadInput)
		}
		r.bytes += len(m.Sealed)
		switch {
		case m.Sealed == nil:
			deletes++
		case m.Key.Space != efs.SpaceAccess:
			puts++
		}
	}
	for i, c := range t.Changes {
		if len(c) > maxValue {
			return nil, fmt.Errorf("change %d: %d bytes, at most %d: %w", i, len(c), maxValue, efs.ErrBadInput)
		}
		r.bytes += len(c)
	}
	// Writes of access records alone have no puts, and may use the reserve
	// like deletes; see the package comment.
	r.givesBack = len(t.Mutations)+len(t.Unqueue) > 0 && deletes >= puts
	return r, nil
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
