// Package keyring keeps the keys of file systems, wrapped, in a store of its
// own (keys.db), and hands them to package seal while they are alive.
//
// Keys form a tree: a master key in a KMS wraps an epoch key and a root
// secret per stage; an epoch key wraps the file keys of contents (and, with
// erasure units, unit keys between them). See docs/keys.md.
package keyring

import (
	"context"
	"log/slog"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// Options tune a Keyring. The zero value is usable.
type Options struct {
	// KeyTTL is the hard lifetime of an unwrapped key; a key in use is
	// unwrapped again at half of it. 0: five minutes.
	KeyTTL time.Duration
	// OutageGrace is how long past its lifetime a key stays usable when its
	// KMS does not answer. A KMS that refuses ends a key at once. 0: not at all.
	OutageGrace time.Duration
	// KMSTimeout bounds one call of a KMS. 0: ten seconds.
	KMSTimeout time.Duration
	Logger     *slog.Logger     // nil: none
	Clock      func() time.Time // nil: time.Now
}

// Keyring is an open keys.db. Its methods are safe for concurrent use.
type Keyring struct{}

// FileSystem is what the keyring knows of a file system without its keys.
type FileSystem struct {
	ID      efs.ID
	Name    string
	Created time.Time
	Stages  []efs.StagePolicy // of the newest epoch; Algorithm is empty
}

// Open opens or creates the store at path. kms are the providers that
// policies may name. efs.ErrUnavailable if another process has it open.
func Open(path string, kms map[string]efs.KMS, opts Options) (*Keyring, error) {
	return nil, efs.ErrUnavailable
}

// Create makes the keys of a new file system: for each stage an epoch key and
// a root secret, wrapped by the stage's KMS. All or nothing, durable on
// return. efs.ErrExists if the id or the name has keys.
func (r *Keyring) Create(ctx context.Context, fs efs.ID, name string, stages []efs.StagePolicy) (*Keys, error) {
	return nil, efs.ErrUnavailable
}

// Keys returns the keys of a file system after unwrapping what is needed to
// check its record. efs.ErrNotFound, efs.ErrWrongKey, efs.ErrDamaged,
// efs.ErrRefused, efs.ErrUnavailable.
func (r *Keyring) Keys(ctx context.Context, fs efs.ID) (*Keys, error) {
	return nil, efs.ErrUnavailable
}

// List returns all file systems that have keys, by name. What it says of one
// is proven only by Keys.
func (r *Keyring) List() ([]FileSystem, error) { return nil, efs.ErrUnavailable }

// Drop destroys all keys of a file system, durably: nothing that they sealed
// opens again. Dropping what is not there is no error.
func (r *Keyring) Drop(ctx context.Context, fs efs.ID) error { return efs.ErrUnavailable }

// Anchor returns the newest head that was anchored for fs; false if none was.
func (r *Keyring) Anchor(fs efs.ID) (efs.Head, bool, error) {
	return efs.Head{}, false, efs.ErrUnavailable
}

// SetAnchor keeps head as the newest known one, durably. A head older than
// the anchor changes nothing and is no error; one that contradicts it is
// efs.ErrRolledBack.
func (r *Keyring) SetAnchor(ctx context.Context, head efs.Head) error { return efs.ErrUnavailable }

// ResetAnchor sets the anchor to head, older or not: for an operator who
// accepts that an older index was put back.
func (r *Keyring) ResetAnchor(ctx context.Context, head efs.Head) error { return efs.ErrUnavailable }

// Close wipes all unwrapped keys and closes the store.
func (r *Keyring) Close() error { return nil }

// Keys are the keys of one file system. Safe for concurrent use.
type Keys struct{}

// FS is the file system whose keys they are; Name is its name.
func (k *Keys) FS() efs.ID   { return efs.ID{} }
func (k *Keys) Name() string { return "" }

// Recipients returns what seals a new content: one per stage, newest epoch.
func (k *Keys) Recipients() ([]seal.Recipient, error) { return nil, efs.ErrUnavailable }

// Identity opens the slots of every live key of this file system.
func (k *Keys) Identity() seal.Identity { return nil }

// Root derives a key of 32 bytes for a purpose ("index", "names") from the
// root secrets of all stages; the caller wipes it.
func (k *Keys) Root(purpose string) ([]byte, error) { return nil, efs.ErrUnavailable }

// Live is nil while the keys are usable, else why not (efs.ErrRefused,
// efs.ErrUnavailable): cheap enough to be asked for every request.
func (k *Keys) Live() error { return efs.ErrUnavailable }

// Export writes aes.key and filename-salt into systemDir: sealed copies for
// recovery, never read back by a server but to compare.
func (k *Keys) Export(systemDir string) error { return efs.ErrUnavailable }

// CheckExport compares the copies in systemDir with the keyring and says what
// does not fit.
func (k *Keys) CheckExport(systemDir string) error { return efs.ErrUnavailable }
