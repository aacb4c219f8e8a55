package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Box keeps secrets of the server, sealed; *starter.Box does.
type Box interface {
	Get(name string) ([]byte, error)
	Put(name string, value []byte) error
	// Replace is Put that overwrites what was there before.
	Replace(name string, value []byte) error
	RootID() efs.ID
}

// The secrets of the log.
const (
	secretFirst = "audit-first" // key of line 1, until it is taken away (TakeKey)
	secretSign  = "audit-sign"  // seed of the key that signs heads
	secretState = "audit-state" // state
)

// stateFormat is the format of what is kept of the log beside it.
const stateFormat = 1

// state is where the log was when it was last kept: the key of the next line
// and what must lie before it.
type state struct {
	Format  int    `json:"format"`
	Seq     uint64 `json:"seq"` // of the next line
	Prev    []byte `json:"prev"`
	Key     []byte `json:"key"`
	Segment uint64 `json:"segment"` // first line of the file that the next line goes to; 0: none yet
	Offset  int64  `json:"offset"`  // length of that file, bytes
	Line    int64  `json:"line"`    // lines in it
}

func (s *state) wipe() { secret.Wipe(s.Key) }

// readState returns the last state that was kept; of a new log the one before
// its first line.
func readState(box Box) (*state, error) {
	b, err := box.Get(secretState)
	if errors.Is(err, efs.ErrNotFound) {
		return firstState(box)
	}
	if err != nil {
		return nil, fmt.Errorf("the state of the audit log: %w", err)
	}
	defer secret.Wipe(b)
	s := &state{}
	err = json.Unmarshal(b, s)
	if err == nil && s.Format > stateFormat {
		return nil, fmt.Errorf("the state of the audit log has format %d, this program knows %d: it was written by a newer EFS, start that one", s.Format, stateFormat)
	}
	if err != nil || s.Format != stateFormat || len(s.Key) != secret.Size || len(s.Prev) != sha256.Size || s.Seq == 0 {
		return nil, fmt.Errorf("the state of the audit log is damaged: %w", efs.ErrDamaged)
	}
	return s, nil
}

func firstState(box Box) (*state, error) {
	key, err := firstKey(box)
	if err == nil && key == nil {
		return nil, fmt.Errorf("the state of the audit log is missing: put .server/sealed/%s.sealed back from a backup: %w", secretState, efs.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	return &state{Format: stateFormat, Seq: 1, Prev: make([]byte, sha256.Size), Key: key}, nil
}

// taken stands for a first key that was taken away.
const taken = "taken"

// firstKey returns the key of line 1, nil if it was taken.
func firstKey(box Box) ([]byte, error) {
	key, err := box.Get(secretFirst)
	if err == nil && string(key) == taken {
		return nil, nil
	}
	if err == nil && len(key) != secret.Size {
		err = efs.ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("the first key of the audit log: %w", err)
	}
	return key, nil
}

func (s *state) keep(box Box) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keeping the state of the audit log: %w", err)
	}
	defer secret.Wipe(b)
	if err := box.Replace(secretState, b); err != nil {
		return fmt.Errorf("keeping the state of the audit log: %w", err)
	}
	return nil
}

// signingSeed returns the seed of the log's signing key. In a Box without one
// it makes the keys of a new log: the first key first, so that whoever finds
// the seed finds that too, or somebody has taken it away.
func signingSeed(box Box) (*secret.Key, error) {
	seed, err := box.Get(secretSign)
	if errors.Is(err, efs.ErrNotFound) {
		if err := putRandom(box, secretFirst); err != nil {
			return nil, err
		}
		if err := putRandom(box, secretSign); err != nil {
			return nil, err
		}
		seed, err = box.Get(secretSign)
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs the audit log: %w", err)
	}
	return secret.NewKey(seed)
}

func putRandom(box Box, name string) error {
	b := make([]byte, secret.Size)
	rand.Read(b)
	defer secret.Wipe(b)
	if err := box.Put(name, b); err != nil {
		return fmt.Errorf("making the keys of the audit log: %w", err)
	}
	return nil
}
