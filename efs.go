// Package efs is the vocabulary of EFS, an encrypted file system that programs
// use over HTTPS: every noun of the system, and every interface that has more
// than one implementation, with its contract.
//
// The way of a file through the house:
//
//	internal/server    HTTPS: routes, limits, who may
//	internal/fsys      paths → entries → contents: the core
//	seal               the bytes of the sealed-file format
//	internal/keyring   which keys; an efs.KMS wraps the topmost of them
//	an efs.Index       sealed records under opaque keys, committed together
//	an efs.Blobs       sealed files under random names
//
// Engines (Index, Blobs, KMS) never see a name, a path or a plaintext. What
// they are handed is sealed above them, once, so that every engine hides the
// same things.
package efs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ID names a file system, a directory, a file, a content, a key or a server
// instance: 128 bits, written as a UUID (RFC 9562).
type ID [16]byte

// NewID returns a random ID (UUID version 4). It tells nothing, which is what
// the names of blobs on a volume must do.
func NewID() ID { return ID(uuid.New()) }

// NewTimeID returns an ID that begins with the time in milliseconds (UUID
// version 7), so that records stored under such ids are appended rather than
// strewn over an index. It shows when it was made; so does the index itself.
func NewTimeID() ID { return ID(uuid.Must(uuid.NewV7())) }

// ParseID reads the UUID form that String writes.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	return ID(u), err
}

// String returns the UUID form, 36 characters.
func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id is the zero ID, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText and UnmarshalText make IDs readable in JSON and TOML.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// The kinds of failure that callers tell apart with errors.Is. Errors are
// wrapped once with what was being done; faces turn them into what to do next.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("already exists")
	ErrPrecondition = errors.New("precondition failed")          // the caller's If-Match or If-None-Match
	ErrConflict     = errors.New("changed meanwhile")            // a record check failed: look again and retry
	ErrNotDir       = errors.New("not a directory")              // a file stands where a directory is needed
	ErrIsDir        = errors.New("is a directory")               // a directory stands where a file is needed
	ErrSymlink      = errors.New("is a symbolic link")           // a symlink stands where a file is needed: it has no contents
	ErrNotEmpty     = errors.New("directory not empty")          //
	ErrBadPath      = errors.New("malformed path")               //
	ErrBadInput     = errors.New("malformed input")              // names, keys, parameters
	ErrDigest       = errors.New("digest does not match")        // the caller's Repr-Digest
	ErrQuota        = errors.New("quota exceeded")               //
	ErrNoSpace      = errors.New("no space left on volume")      //
	ErrLogTruncated = errors.New("change log truncated")         // since lies before the log's start: rescan
	ErrStopped      = errors.New("stopped after a failed write") // final until restart; nothing was confirmed
	ErrDamaged      = errors.New("stored data is damaged")       // tampered with, truncated, or missing
	ErrSealed       = errors.New("server is sealed")             // no starter key yet
	ErrWrongKey     = errors.New("wrong key")                    // a key that does not open what it should
	ErrRolledBack   = errors.New("older than its anchor")        // an index from the past was put back
	ErrUnavailable  = errors.New("temporarily unavailable")      // a KMS or store that does not answer: retry
	ErrRefused      = errors.New("refused")                      // a KMS or policy that says no
	ErrUnsupported  = errors.New("not supported")                // by this provider or engine, whatever the state of things
	ErrForgotten    = errors.New("forgotten")                    // its key was destroyed on purpose
	ErrUnitBorder   = errors.New("another erasure unit")         // what has other keys cannot be moved there
)

var fsName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,62}$`)
var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ValidFSName reports whether s can name a file system.
func ValidFSName(s string) bool { return fsName.MatchString(s) }

// ServerRealm is where administrators of the server are users. No file system
// can have this name, and it holds no files.
const ServerRealm = "@server"

// ValidRealm reports whether s can name what users belong to: a file system,
// or ServerRealm.
func ValidRealm(s string) bool { return s == ServerRealm || ValidFSName(s) }

// ValidUserName reports whether s can name a user.
func ValidUserName(s string) bool { return userName.MatchString(s) }

// Limits of paths. Paths are UTF-8, compared byte for byte.
const (
	MaxPath    = 4096 // bytes in a path
	MaxSegment = 255  // bytes between two slashes
	MaxTarget  = 4096 // bytes in the target of a symlink
)

// MaxMode is the highest mode of an entry: the twelve bits of permissions that
// POSIX has, set-user-ID, set-group-ID and sticky among them. They are kept for
// whoever restores the file; EFS does not judge by them.
const MaxMode = 0o7777

// Kind tells what an entry is.
type Kind uint8

// The kinds of entry. KindLink is reserved for a link to a shared node.
const (
	KindFile Kind = 1 + iota
	KindDir
	KindSymlink
	KindLink
)

// String returns "file", "directory", "symlink" or "link".
func (k Kind) String() string {
	switch k {
	case KindFile:
		return "file"
	case KindDir:
		return "directory"
	case KindSymlink:
		return "symlink"
	case KindLink:
		return "link"
	}
	return "unknown"
}

// Extent is a run of a file's bytes that lie in one content.
type Extent struct {
	Offset  int64 `cbor:"1,keyasint"`           // in the file, bytes
	Length  int64 `cbor:"2,keyasint"`           // of the plaintext, bytes
	Sealed  int64 `cbor:"3,keyasint"`           // length of the sealed file that holds it, bytes
	Content ID    `cbor:"4,keyasint"`           //
	Inline  bool  `cbor:"5,keyasint,omitempty"` // the sealed file is a record of SpaceInline, not a blob
	Policy  int   `cbor:"6,keyasint,omitempty"` // version of the policy it was sealed under
	Epoch   int   `cbor:"7,keyasint,omitempty"` // of the keys it was sealed with; 0: not noted, or sealed with a unit key
}

// Entry is what the index holds for one name in one directory. Encoded as
// deterministic CBOR with integer keys and sealed before an engine sees it.
type Entry struct {
	File       ID                `cbor:"1,keyasint"`            // stable over rename and replacement; for a directory, the directory's id
	Kind       Kind              `cbor:"2,keyasint"`            //
	Version    uint64            `cbor:"3,keyasint"`            // 1 when created, one more at each replacement
	ETag       string            `cbor:"4,keyasint"`            // opaque, without quotes; never derived from a content id
	Size       int64             `cbor:"5,keyasint,omitempty"`  // of the plaintext, bytes
	Digest     []byte            `cbor:"6,keyasint,omitempty"`  // of the plaintext, by DigestKind
	DigestKind DigestKind        `cbor:"7,keyasint,omitempty"`  //
	Extents    []Extent          `cbor:"8,keyasint,omitempty"`  // in order of Offset, without gaps
	Created    int64             `cbor:"9,keyasint"`            // Unix time, microseconds
	Modified   int64             `cbor:"10,keyasint"`           // Unix time, microseconds
	Type       string            `cbor:"11,keyasint,omitempty"` // content type
	Meta       map[string]string `cbor:"12,keyasint,omitempty"` // user metadata; keys in lower case
	Owner      string            `cbor:"13,keyasint,omitempty"` // the user who wrote this version
	Mode       uint32            `cbor:"14,keyasint,omitempty"` // POSIX permission bits, 0 for the default
	Target     string            `cbor:"15,keyasint,omitempty"` // of a symlink
	Name       string            `cbor:"16,keyasint"`           // the last segment of its path
}

// CheckExtents says whether the extents of an entry follow each other without
// gaps and are as long as the file, as they must wherever an entry was decoded.
// ErrDamaged if not.
func (e *Entry) CheckExtents() error {
	var size int64
	for _, x := range e.Extents {
		if x.Offset != size || x.Length < 0 || x.Sealed < 0 {
			return fmt.Errorf("%w: the extents of file %s do not fit together", ErrDamaged, e.File)
		}
		size += x.Length
	}
	if size != e.Size {
		return fmt.Errorf("%w: the extents of file %s are not as long as the file", ErrDamaged, e.File)
	}
	return nil
}

// DigestKind says what an entry's digest covers.
type DigestKind uint8

// DigestFull is SHA-256 over the whole plaintext; DigestComposite is SHA-256
// over the digests of the parts, for uploads in parts.
const (
	DigestFull DigestKind = 1 + iota
	DigestComposite
)

// Op is what a change did.
type Op uint8

// The operations that the change log tells of.
const (
	OpCreate Op = 1 + iota // a file or directory came to be at Path
	OpReplace
	OpPatch
	OpDelete     // a file, or an empty directory
	OpDeleteTree // a directory with all below it
	OpMove       // from From to Path
	OpAccess     // users, certificates, policy: Path names no file
	OpForgotten  // an erasure unit was forgotten: Before names its directory by id alone; without Before: a change of which nothing can be known any more
)

// String returns the name used in the change feed.
func (o Op) String() string {
	names := [...]string{"unknown", "create", "replace", "patch", "delete", "delete-tree", "move", "access", "forgotten"}
	if int(o) >= len(names) {
		o = 0
	}
	return names[o]
}

// Change is one committed mutation, as followers of the log read it. In the
// index it is sealed; its sequence number and its link are the engine's.
type Change struct {
	Seq    uint64 `cbor:"-"`
	Op     Op     `cbor:"1,keyasint"`
	Time   int64  `cbor:"2,keyasint"` // Unix time, microseconds
	User   string `cbor:"3,keyasint,omitempty"`
	Path   string `cbor:"4,keyasint,omitempty"` // at the time of the change, without a leading slash
	From   string `cbor:"5,keyasint,omitempty"` // where a moved entry came from
	Dir    ID     `cbor:"6,keyasint,omitempty"` // the directory that holds Path's entry
	Before *Entry `cbor:"7,keyasint,omitempty"` // nil: there was none
	After  *Entry `cbor:"8,keyasint,omitempty"` // nil: there is none

	Origin *Origin `cbor:"9,keyasint,omitempty"` // for the audit log alone; nil: no request, or no such log
}

// Origin is the request that a change was made for, so that the audit log can
// be given the line of it whatever happens after the commit. The change feed
// does not tell of it. Of several changes of a transaction the last has it; of
// several transactions of a request, the first.
type Origin struct {
	Op      string `cbor:"1,keyasint"` // as the audit log calls it, such as "file.store"
	Session string `cbor:"2,keyasint,omitempty"`
	Request string `cbor:"3,keyasint,omitempty"`
	From    string `cbor:"4,keyasint,omitempty"` // address of the caller
	Method  string `cbor:"5,keyasint,omitempty"`
	Name    []byte `cbor:"6,keyasint,omitempty"` // sealed label of the path, where the change does not tell it
}

// Policy is how a file system seals what is written to it. Policies are
// versioned; what was written under an older one stays readable.
type Policy struct {
	Version     int           `cbor:"1,keyasint" toml:"version" json:"version"`
	Stages      []StagePolicy `cbor:"2,keyasint" toml:"stages" json:"stages"`
	Compression string        `cbor:"3,keyasint" toml:"compression" json:"compression"`                                   // "none" or "zstd"
	Padding     string        `cbor:"4,keyasint" toml:"padding" json:"padding"`                                           // "none" or "padme"
	InlineLimit int           `cbor:"5,keyasint" toml:"inline_limit" json:"inline_limit"`                                 // plaintext bytes; larger files become blobs
	SegmentSize int           `cbor:"6,keyasint" toml:"segment_size" json:"segment_size"`                                 // bytes
	FanOut      int           `cbor:"7,keyasint" toml:"fan_out" json:"fan_out"`                                           // directory levels below files/, 2 hex digits each; 0: chosen from the volume
	ErasureUnit string        `cbor:"8,keyasint,omitempty" toml:"erasure_unit" json:"erasure_unit"`                       // "" for none
	Recovery    string        `cbor:"9,keyasint,omitempty" toml:"recovery_recipient" json:"recovery_recipient,omitempty"` // public key, efs1…, that the keys are sealed to as well; "" for none
}

// StagePolicy is one stage: a cipher and the source of its keys.
type StagePolicy struct {
	Algorithm string `cbor:"1,keyasint" toml:"algorithm" json:"algorithm"` // AES256 or CHACHA20_POLY1305
	Provider  string `cbor:"2,keyasint" toml:"provider" json:"provider"`   // name of a KMS
	KeyID     string `cbor:"3,keyasint" toml:"kms_key_id" json:"kms_key_id"`
}

// The algorithms a stage can have.
const (
	AES256           = "AES256"            // AES-256-GCM
	ChaCha20Poly1305 = "CHACHA20_POLY1305" // ChaCha20-Poly1305
)

// DefaultPolicy is what create-fs gives: one stage of AES-256-GCM with keys
// from the local KMS, contents up to 16 KiB inline, segments of 64 KiB.
func DefaultPolicy() Policy {
	return Policy{
		Version:     1,
		Stages:      []StagePolicy{{Algorithm: AES256, Provider: "local", KeyID: "default"}},
		Compression: "none",
		Padding:     "padme",
		InlineLimit: 16 << 10,
		SegmentSize: 64 << 10,
	}
}

// ---- The index ----

// Space is a keyspace of the index. Keys and values are opaque to engines.
type Space uint8

// The keyspaces. Keys are made of ids and tokens; a token is
// HMAC-SHA-256(name key of the directory, name) cut to 16 bytes.
const (
	SpacePlaces   Space = 1 + iota // directory id → where the directory hangs; its record's version is the directory's generation
	SpaceEntries                   // directory id ‖ token → entry
	SpaceFiles                     // file id → key in SpaceEntries
	SpaceInline                    // content id → a complete sealed file
	SpaceVersions                  // file id ‖ version → an older entry or a delete marker
	SpaceContents                  // content id → content record, where it is not the default
	SpaceUploads                   // upload id ‖ part → leased part
	SpaceNames                     // directory id ‖ … → sorted names of a large directory
	SpaceAccess                    // kind ‖ token → users, keys, certificates, revocations, grants
	SpaceMeta                      // policy history, work to be resumed (detached directories, moves)
	spaceEnd
)

// Spaces is the number of keyspaces, counted from 1.
const Spaces = int(spaceEnd) - 1

// Key addresses a record.
type Key struct {
	Space Space
	Bytes []byte
}

// Record is a sealed value under a key. Version is 0 where there is none;
// else it is the revision of the commit that wrote it, never used twice.
type Record struct {
	Key     []byte
	Version uint64
	Sealed  []byte
}

// CheckKind says what a Check demands.
type CheckKind uint8

// CheckVersion demands that the record have exactly Version (0: that it be
// absent); CheckPresent that it exist; CheckNoneUnder that no record's key
// begin with Key (an empty directory).
const (
	CheckVersion CheckKind = 1 + iota
	CheckPresent
	CheckNoneUnder
)

// Check is a precondition of a transaction.
type Check struct {
	Kind    CheckKind
	Key     Key
	Version uint64
}

// Mutation writes or deletes (Sealed == nil) one record.
type Mutation struct {
	Key    Key
	Sealed []byte
}

// Release names a content that no entry refers to any more.
type Release struct {
	Revision uint64 // when it was dropped; set by the engine, with Content the queue's key
	Seq      uint64 // the last change sequence at that time; set by the engine
	Content  ID
	Inline   bool
}

// Delta changes what an account uses, and may bound it.
type Delta struct {
	Account            ID
	Bytes, Files       int64 // added; negative to give back
	MaxBytes, MaxFiles int64 // 0: no bound. Deltas that only give back are never refused
}

// Usage is what an account has in use.
type Usage struct {
	Bytes int64 `json:"bytes" cbor:"Bytes"`
	Files int64 `json:"files" cbor:"Files"`
}

// Txn is all or nothing: if every check holds and no bound is passed, every
// part of it is committed together, durably, before Commit returns.
type Txn struct {
	Checks    []Check
	Mutations []Mutation
	Changes   [][]byte  // sealed changes; each takes the next sequence number
	Release   []Release // contents dropped: queued
	Unqueue   []Release // contents that are gone for good: out of the queue
	Usage     []Delta
}

// Committed tells where a transaction ended up.
type Committed struct {
	Revision uint64 // the version its records now have
	Seq      uint64 // of its last change; without changes, of the last change before it
}

// CheckError is the error of a transaction whose checks failed. It wraps
// ErrConflict. Nothing was changed.
type CheckError struct {
	Check   int    // index into Txn.Checks
	Version uint64 // the record's present version
}

func (e *CheckError) Error() string { return "index check failed: " + ErrConflict.Error() }

// Unwrap returns ErrConflict.
func (e *CheckError) Unwrap() error { return ErrConflict }

// SealedChange is a change as the engine keeps it.
type SealedChange struct {
	Seq    uint64
	Link   [32]byte // HeadSealer.Link over the one before
	Sealed []byte
}

// Head is where an index stands. It is sealed in every commit.
type Head struct {
	FS       ID
	Revision uint64
	Seq      uint64
	Link     [32]byte // of the change Seq: a hash chain over all changes
	Time     int64    // Unix time, microseconds
}

// HeadSealer links changes and seals heads with keys that engines never see.
// It must not block, and is safe for concurrent use.
type HeadSealer interface {
	// Link is keyed: HMAC-SHA-256(chain key, prev ‖ seq ‖ sealed).
	Link(prev [32]byte, seq uint64, sealed []byte) [32]byte
	SealHead(Head) []byte
	OpenHead([]byte) (Head, error) // ErrDamaged
}

// MarkKind says what a Mark holds back.
type MarkKind uint8

// A MarkHold keeps contents released after its sequence number from being
// deleted; a MarkFollower keeps changes after its sequence number in the log.
const (
	MarkHold MarkKind = 1 + iota
	MarkFollower
)

// Mark is a named, expiring claim on the log or on released contents.
type Mark struct {
	Kind    MarkKind
	Name    string
	Seq     uint64
	Expires time.Time // zero: never
}

// Index is one file system's index: sealed records in keyspaces, a change log,
// a release queue and a sealed head, changed by transactions.
//
// Every method is safe for concurrent use. A failed write or sync of the
// store below is final: from then on Commit returns ErrStopped, Err tells why,
// and only reopening helps. Implementations pass internal/index/indextest.
type Index interface {
	// Get returns the records under keys, in their order, as of one moment.
	// A key without a record yields a Record of Version 0. The sealed bytes are
	// the caller's own, to overwrite too.
	Get(ctx context.Context, keys ...Key) ([]Record, error)

	// Scan returns up to limit records of a space whose keys begin with
	// prefix and sort after after (nil: from the start), in byte order.
	Scan(ctx context.Context, space Space, prefix, after []byte, limit int) ([]Record, error)

	// Commit applies txn. It returns when txn is durable, or with an error and
	// nothing changed: CheckError, ErrQuota, ErrNoSpace, ErrStopped, or ctx's
	// error if ctx ended before txn was taken up. Once taken up, a transaction
	// is finished whatever becomes of ctx. Transactions that wait together may
	// share one sync; one that fails its checks fails no other. Later
	// transactions of a batch see the earlier ones.
	Commit(ctx context.Context, txn *Txn) (Committed, error)

	// Changes returns up to limit changes with Seq > since, in order; change n
	// is visible only after all lower ones. ErrLogTruncated if since lies
	// before the start of the log.
	Changes(ctx context.Context, since uint64, limit int) ([]SealedChange, error)

	// TrimChanges drops changes with Seq <= upTo, except those that a follower
	// still needs. It works in bounded steps.
	TrimChanges(ctx context.Context, upTo uint64) error

	// LogBounds returns the sequence numbers of the first and the last change
	// in the log (first == last+1 when it is empty).
	LogBounds(ctx context.Context) (first, last uint64, err error)

	// Committed returns a channel that is closed at the next commit that adds
	// changes, and by Close, so that followers wait without asking again and
	// again.
	Committed() <-chan struct{}

	// Releasable returns up to limit queued contents that no hold protects,
	// oldest first.
	Releasable(ctx context.Context, limit int) ([]Release, error)

	// Queued returns up to limit queued contents after the given one (zero:
	// from the start), whether or not a hold protects them.
	Queued(ctx context.Context, after Release, limit int) ([]Release, error)

	// SetMark creates or moves a mark, durably; DropMark removes it.
	SetMark(ctx context.Context, m Mark) error
	DropMark(ctx context.Context, kind MarkKind, name string) error
	Marks(ctx context.Context) ([]Mark, error)

	// Usage returns what an account has in use.
	Usage(ctx context.Context, account ID) (Usage, error)

	// Head returns the last committed head.
	Head(ctx context.Context) (Head, error)

	// Follow has f told of all that is committed from now on, after it is
	// durable, in order and once, and returns the head that this goes on from.
	// f is not to block: commits wait for it. After stop has returned it is not
	// told of anything any more, nor after Close. ErrExists if there is a
	// follower already.
	Follow(f IndexFollower) (head Head, stop func(), err error)

	// Snapshot returns the index as of one commit, the last one or a later
	// one, for readers that take their time: however long it lives, it neither
	// makes the index grow nor keeps it from being compacted. ErrNoSpace where
	// the store has no room for it. It may outlive the index.
	Snapshot(ctx context.Context) (IndexSnapshot, error)

	// Stats describes size and work, for metrics.
	Stats() IndexStats

	// Err is nil, or why the index stopped.
	Err() error

	// Close waits for commits under way and releases the store.
	Close() error
}

// IndexFollower is told what an index commits: of each commit its parts in
// their order, and then its end. It is called by one goroutine at a time. What
// it is passed it may not keep.
type IndexFollower interface {
	Put(k Key, version uint64, sealed []byte)
	Delete(k Key)
	Queue(r Release)   // a content was dropped
	Unqueue(r Release) // it is gone; Revision and Content tell which
	// Committed ends what led from revision before to head.
	Committed(before uint64, head Head)
}

// IndexSnapshot is an index as of one commit. Its methods are safe for
// concurrent use, until Close.
type IndexSnapshot interface {
	// Head is the head of that commit.
	Head() Head
	// Get and Scan are those of Index, as of that commit.
	Get(ctx context.Context, keys ...Key) ([]Record, error)
	Scan(ctx context.Context, space Space, prefix, after []byte, limit int) ([]Record, error)
	// Queued returns the release queue, page by page, as Index does.
	Queued(ctx context.Context, after Release, limit int) ([]Release, error)
	// Usage returns what an account had in use.
	Usage(ctx context.Context, account ID) (Usage, error)
	// Close gives up what the snapshot occupies. Later calls return nil.
	Close() error
}

// IndexStats counts since the index was opened, except sizes.
type IndexStats struct {
	Commits      uint64     // syncs
	Transactions uint64     // transactions committed by them
	Refused      uint64     // transactions that failed checks or bounds
	Batches      [11]uint64 // syncs by how many transactions they committed: [i] of more than 2^(i-1), to 2^i; the last of all that are more
	SizeBytes    int64      // of the store
	FreeBytes    int64      // of it, reusable
	LogBytes     int64      // of the write-ahead log
	PendingBytes int64      // in the log only, and in memory
	Flushes      uint64     // of the log into the store
	Compactions  uint64     // of the store
}

// ---- Who may ----

// AccessRecord is what a file system keeps of one user, authority or grant:
// an encoded value under a kind and a name, sealed in SpaceAccess.
type AccessRecord struct {
	Name    string
	Value   []byte
	Version uint64
}

// AccessMutation writes or deletes (Value == nil) one such record, if its
// version is still Version (0: if there is none).
type AccessMutation struct {
	Kind, Name string
	Value      []byte
	Version    uint64
}

// ---- Contents ----

// Blob is a sealed file opened for reading.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64 // physical length, bytes
}

// NewBlob is a sealed file being written. Exactly one of Commit and Abort
// ends it.
type NewBlob interface {
	io.Writer
	// Commit makes the blob durable under its id: when it returns nil, bytes
	// and name survive a crash. ErrNoSpace where the volume is full.
	Commit() error
	// Abort removes what was written.
	Abort()
}

// BlobInfo describes a stored blob.
type BlobInfo struct {
	ID       ID
	Size     int64
	Modified time.Time
	Unsorted bool // still where new blobs lie
}

// Blobs keeps immutable sealed files under random ids. Methods are safe for
// concurrent use. Implementations pass internal/blob/blobtest.
type Blobs interface {
	// Create begins a blob. It is not visible to Open before Commit. ErrExists
	// if the id is taken.
	Create(ctx context.Context, id ID) (NewBlob, error)
	// Open opens a blob wherever it lies. ErrNotFound.
	Open(ctx context.Context, id ID) (Blob, error)
	// Settle moves a committed blob to its place in the fan-out. Idempotent;
	// readers are not disturbed. ErrNotFound.
	Settle(ctx context.Context, id ID) error
	// Remove deletes a blob durably. Removing what is not there is no error.
	Remove(ctx context.Context, id ID) error
	// Quarantine takes a blob out of sight of Open but keeps it for later.
	// ErrNotFound.
	Quarantine(ctx context.Context, id ID) error
	// PurgeQuarantine deletes what has been in quarantine since before t and
	// returns how many blobs that were.
	PurgeQuarantine(ctx context.Context, t time.Time) (int, error)
	// Unsettled calls fn for each blob that still lies where new blobs lie;
	// cheap, for start-up. Walk calls fn for every blob.
	Unsettled(ctx context.Context, fn func(BlobInfo) error) error
	Walk(ctx context.Context, fn func(BlobInfo) error) error
	// Layout describes the placement, for people: fan-out, volume type.
	Layout() Layout
	Close() error
}

// Layout is how blobs are spread over directories.
type Layout struct {
	Volume  string // the volume's file system: ext4, xfs, nfs, …
	FanOut  int    // directory levels, 2 hex digits each
	MaxDir  int    // entries that no directory is to exceed
	Reached int64  // contents that fit before a directory passes MaxDir
}

// ---- Keys ----

// Binding says what a wrapped key is for. It is authenticated with the wrap
// and compared after unwrapping, so that a wrapped key moved elsewhere does
// not open.
type Binding struct {
	Purpose string `cbor:"1,keyasint"` // "epoch", "root", "unit", …
	FS      ID     `cbor:"2,keyasint"`
	Stage   int    `cbor:"3,keyasint"`
	Epoch   int    `cbor:"4,keyasint"`
	Key     ID     `cbor:"5,keyasint"`
}

// KeyState is what may be done with a master key.
type KeyState string

// The states of a master key.
const (
	KeyEnabled         KeyState = "enabled"
	KeyDisabled        KeyState = "disabled"         // wraps and unwraps nothing
	KeyPendingDeletion KeyState = "pending-deletion" // as disabled, and gone after DeleteAt
)

// KeyInfo describes a master key, without material.
type KeyInfo struct {
	ID       string    `json:"id"`
	Provider string    `json:"provider"`
	State    KeyState  `json:"state"`
	Version  int       `json:"version"` // newest; older ones still unwrap
	Created  time.Time `json:"created"`
	DeleteAt time.Time `json:"delete_at,omitzero"`
	KeyOptions
}

// KeyOptions are what an administrator may say about a master key. They are
// not secret.
type KeyOptions struct {
	Description string            `json:"description,omitempty"` // up to 1,024 bytes
	Tags        map[string]string `json:"tags,omitempty"`        // up to 50; keys of 1 to 128 bytes, values up to 256
}

// Check returns ErrBadInput, with what is wrong, unless o is within its
// limits and is text that can be shown: UTF-8 without control characters.
func (o KeyOptions) Check() error {
	if len(o.Description) > 1024 || !printable(o.Description) {
		return fmt.Errorf("%w: the description of a master key is text of up to 1,024 bytes", ErrBadInput)
	}
	if len(o.Tags) > 50 {
		return fmt.Errorf("%w: a master key has up to 50 tags, these are %d", ErrBadInput, len(o.Tags))
	}
	for k, v := range o.Tags {
		if len(k) < 1 || len(k) > 128 || len(v) > 256 || !printable(k) || !printable(v) {
			return fmt.Errorf("%w: a tag of a master key is text: a key of 1 to 128 bytes and a value of up to 256 (%.140q)", ErrBadInput, k)
		}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// KMS wraps keys under master keys that never leave it. Methods are safe for
// concurrent use. Errors: ErrNotFound (no such key), ErrRefused (disabled or
// not permitted), ErrUnavailable (no answer), ErrWrongKey (the wrapped bytes
// are not of this key or not of this binding), ErrUnsupported (what is done
// with this provider's own tools). Implementations pass internal/kms/kmstest.
type KMS interface {
	// Name is the provider's name in policies.
	Name() string
	// Wrap seals a key of 32 bytes under the newest version of master key id.
	Wrap(ctx context.Context, id string, key []byte, b Binding) ([]byte, error)
	// Unwrap opens what Wrap made with the same id and binding. The caller
	// wipes the result.
	Unwrap(ctx context.Context, id string, wrapped []byte, b Binding) ([]byte, error)
	// CreateKey makes a master key. ErrExists.
	CreateKey(ctx context.Context, id string, o KeyOptions) (KeyInfo, error)
	// UpdateKey replaces what is said about a master key.
	UpdateKey(ctx context.Context, id string, o KeyOptions) (KeyInfo, error)
	// DescribeKey and ListKeys tell about keys; ListKeys by id.
	DescribeKey(ctx context.Context, id string) (KeyInfo, error)
	ListKeys(ctx context.Context) ([]KeyInfo, error)
	// RotateKey adds a version. What older versions wrapped still unwraps.
	RotateKey(ctx context.Context, id string) (KeyInfo, error)
	// EnableKey and DisableKey change whether a master key wraps and unwraps.
	// ErrRefused for one that is to be deleted: cancel that first.
	EnableKey(ctx context.Context, id string) (KeyInfo, error)
	DisableKey(ctx context.Context, id string) (KeyInfo, error)
	// ScheduleDeletion disables a master key and destroys it, with all that it
	// wraps, when wait is over; ErrBadInput where wait is shorter than the
	// provider allows. CancelDeletion leaves the key disabled; ErrRefused if
	// none is scheduled.
	ScheduleDeletion(ctx context.Context, id string, wait time.Duration) (KeyInfo, error)
	CancelDeletion(ctx context.Context, id string) (KeyInfo, error)
	// Ready is nil if the KMS would answer now.
	Ready(ctx context.Context) error
}
