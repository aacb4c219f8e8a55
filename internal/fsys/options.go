package fsys

import (
	"context"
	"log/slog"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/tracing"
	"github.com/efs-project/efs/seal"
)

// Keys is what a file system needs of its keyring; *keyring.Keys has it.
type Keys interface {
	// Sealing returns one recipient per stage, in order, of the newest live
	// epoch that has so many, and that epoch's number.
	Sealing(stages int) (epoch int, r []seal.Recipient, err error)
	// Identity opens what any live epoch or unit of this file system sealed.
	Identity() seal.Identity
	// Root returns 32 bytes for a purpose, the same for the life of the file
	// system. The caller wipes them.
	Root(purpose string) ([]byte, error)
	// Live is nil while the keys may be used, else why not. It is asked before
	// everything that opens or seals a record.
	Live() error

	// Rotate begins a new epoch, Restage one under other stages; Epoch is the
	// newest one's number. A retired epoch seals nothing new; a destroyed one
	// opens nothing any more.
	Rotate(ctx context.Context) (epoch int, err error)
	Restage(ctx context.Context, stages []efs.StagePolicy) (epoch int, err error)
	// Recovery and SetRecovery tell and set the public key that the keys are
	// sealed to as well.
	Recovery() string
	SetRecovery(ctx context.Context, recipient string) error
	Epoch() int
	Epochs() []keyring.EpochInfo
	// EpochOf tells whose epoch's key a slot names, if any's.
	EpochOf(slot [16]byte) (epoch int, ok bool)
	// UnitOfSlot tells whose unit's key it names. efs.ErrNotFound, efs.ErrForgotten.
	UnitOfSlot(slot [16]byte) (*keyring.Unit, error)
	Retire(ctx context.Context, epoch int) error
	DestroyEpoch(ctx context.Context, epoch int) error

	// CreateUnit makes the key of an erasure unit, durably; Unit and UnitByTag
	// return it (efs.ErrForgotten, efs.ErrNotFound); after DestroyUnits nothing
	// opens what it sealed. Units describes all, destroyed ones too.
	CreateUnit(ctx context.Context) (efs.ID, error)
	Unit(id efs.ID) (*keyring.Unit, error)
	UnitByTag(tag [16]byte) (*keyring.Unit, error)
	DestroyUnits(ctx context.Context, ids ...efs.ID) error
	// AbandonUnit removes a key that nothing was kept under.
	AbandonUnit(ctx context.Context, id efs.ID) error
	Units() ([]keyring.UnitInfo, error)
}

var _ Keys = (*keyring.Keys)(nil)

// Anchor keeps the newest known head of a file system apart from its index,
// so that an older index put back is noticed; *keyring.Keyring has it.
type Anchor interface {
	Anchor(fs efs.ID) (h efs.Head, ok bool, err error)
	SetAnchor(ctx context.Context, h efs.Head) error
	// ResetAnchor sets the anchor to h, older or not.
	ResetAnchor(ctx context.Context, h efs.Head) error
	// AnchorAccess notes that who may was changed in a revision.
	AnchorAccess(ctx context.Context, fs efs.ID, revision uint64) error
}

// Options says of what parts a file system is made.
type Options struct {
	ID             efs.ID
	Name           string
	Index          efs.Index
	Blobs          efs.Blobs
	Keys           Keys
	Policy         efs.Policy // for Create; Open reads the policy from the index
	Anchor         Anchor     // nil: none is kept
	Cache          Cache      // of decrypted contents; nil: none
	AcceptRollback bool       // go on with an index older than its anchor
	Restored       bool       // the index was just put back from a backup: go on with it, whatever its anchor is
	Logger         *slog.Logger
	Tracer         *tracing.Tracer  // of requests; nil: none
	Clock          func() time.Time // nil: time.Now
	LogLimit       int64            // changes kept in the log; 0: DefaultLogLimit

	Audit Auditor // gets lines of changes that were committed without; nil: no audit log is kept

	SignReceipt ReceiptKey                  // of what is forgotten; nil: nothing can be
	KeyCopies   func() ([]time.Time, error) // when the known copies of the key store expire, zero: never; nil: none is known
	OnForget    func(units []efs.ID)        // drops what is kept of erasure units elsewhere; nil: nothing is

	names namesLimits // zero: defaultNames
}

// DefaultLogLimit is how many changes the log keeps for followers that have
// not registered a mark.
const DefaultLogLimit = 1_000_000

// Who is the user on whose behalf something is done, and the request by which
// the user asked for it.
type Who struct {
	User  string
	Cause *Cause // nil: no request, or no audit log
}

// Cond is a caller's precondition on the entry at a path: lists of ETags
// without quotes, "*" for any. All of it is judged against the entry that the
// transaction then replaces, so exactly one of several writers with the same
// If-Match wins. A condition that does not hold gives efs.ErrPrecondition.
type Cond struct {
	IfMatch     []string // one of these; "*": an entry exists
	IfNoneMatch []string // none of these; "*": no entry exists
}

// PutOptions says what is stored with a file.
type PutOptions struct {
	Who
	Cond
	Type     string            // content type
	Meta     map[string]string // user metadata
	SHA256   []byte            // expected digest of the body; nil: not checked
	Size     int64             // expected length of the body; -1: unknown
	Modified time.Time         // zero: now
	Mode     uint32            // POSIX permission bits; 0: none are kept
}

// PutResult tells what a store came to.
type PutResult struct {
	Entry   efs.Entry
	Created bool   // the path had no entry before
	Seq     uint64 // of the change
}

// ListOptions says which part of a directory is wanted.
type ListOptions struct {
	After     string // list what sorts after this: a name, or a directory's name with a slash; relative to the directory
	Limit     int    // 0: DefaultListLimit; at most MaxListLimit
	Recursive bool   // all below, each with its relative path
	Scope     Scope  // what may be listed; nil: everything
}

// Scope narrows a listing to what somebody may see. Paths are relative to the
// root of the file system, without slashes around them. *access.Rights has it.
type Scope interface {
	// Names returns the only names in a directory that may be listed; all if
	// every name may, in the directory and below.
	Names(dir string) (names []string, all bool)
	// Visible reports whether one of those names may be listed, for what it
	// is: a directory or not.
	Visible(path string, dir bool) bool
}

// The limits of a page of names.
const (
	DefaultListLimit = 1000
	MaxListLimit     = 10_000
)

// ListEntry is an entry with its path relative to the listed directory,
// without a trailing slash. What leads to its contents is left out.
type ListEntry struct {
	Path string
	efs.Entry
}

// MkdirOptions is for Mkdir.
type MkdirOptions struct {
	Who
	Parents  bool // make missing parents too; else efs.ErrNotFound
	Meta     map[string]string
	Mode     uint32    // 0: none is kept
	Modified time.Time // zero: now
}

// RemoveOptions is for Remove.
type RemoveOptions struct {
	Who
	Cond
	Recursive bool // a directory with all below it; else a directory must be empty
}

// MoveOptions is for Move. Cond is judged against the source.
type MoveOptions struct {
	Who
	Cond
	Target    Cond // judged against what is at the destination
	Overwrite bool // replace a file by a file, or an empty directory by a directory; else efs.ErrExists
}

// CopyOptions is for Copy. Cond is judged against the source.
type CopyOptions struct {
	Who
	Cond
	Target    Cond // judged against what is at the destination
	Overwrite bool // replace files that exist; else efs.ErrExists
}

// PatchOptions says what of an entry changes. What is nil stays.
type PatchOptions struct {
	Who
	Cond
	Type     *string
	Meta     map[string]*string // merged; a nil value takes the key away
	Modified *time.Time
	Mode     *uint32 // 0 takes it away
}

// FsckOptions is for Fsck.
type FsckOptions struct {
	Deep     bool                    // read and verify every content whole
	Repair   bool                    // quarantine orphans, mend usage and sorted names
	Progress func(done, total int64) // of entries; total is 0 while unknown
}

// Problem is something that Fsck found.
type Problem struct {
	Kind     string `json:"kind"`
	ID       string `json:"id,omitempty"`
	Path     string `json:"path,omitempty"` // for the local administrator only
	Detail   string `json:"detail"`
	Remedy   string `json:"remedy"`
	Repaired bool   `json:"repaired,omitempty"`
}

// FsckReport is what Fsck found. It is clean if Problems is empty.
type FsckReport struct {
	Files        int64     `json:"files"`
	Directories  int64     `json:"directories"`
	Contents     int64     `json:"contents"`
	Bytes        int64     `json:"bytes"`
	Changes      int64     `json:"changes"`
	Queued       int64     `json:"queued"` // contents waiting to be released
	Deep         bool      `json:"deep"`
	UsageChecked bool      `json:"usage_checked"` // false: it was written to meanwhile, so that sums could not be compared
	Problems     []Problem `json:"problems"`
}

// Left returns the problems that were not repaired; none is an empty list.
func (r *FsckReport) Left() []Problem {
	left := []Problem{}
	for _, p := range r.Problems {
		if !p.Repaired {
			left = append(left, p)
		}
	}
	return left
}
