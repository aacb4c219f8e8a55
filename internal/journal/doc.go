// Package journal keeps, beside the contents of a file system, what its index
// can be made from again: checkpoints of the index and the mutations committed
// since. Both are sealed files of a format of their own, under a key that
// derives from the file system's root secrets (purpose "journal");
// docs/journal.md specifies the bytes and what they promise.
//
// The reading side, Replay and ReadCheckpoint, needs neither a server nor an
// index.
package journal

import (
	"context"

	"github.com/efs-project/efs"
)

// Purpose is that of the key, 32 bytes, that all functions of this package
// take: keyring.Keys.Root(Purpose).
const Purpose = "journal"

// Dir is the name of the journal's directory, beside a file system's contents.
const Dir = "journal"

// Snapshot is what a checkpoint is made of: an index as of one commit.
// efs.IndexSnapshot has it.
type Snapshot interface {
	Head() efs.Head
	Scan(ctx context.Context, space efs.Space, prefix, after []byte, limit int) ([]efs.Record, error)
	Queued(ctx context.Context, after efs.Release, limit int) ([]efs.Release, error)
}

// Report tells what was read.
type Report struct {
	Head     efs.Head // of the index, as of the last mutation that was read
	Seq      uint64   // its sequence number
	Revision uint64   // and its revision
	Records  int64    // read from the checkpoint
	Commits  int64    // read after it

	// Complete is whether all that was written could be read. If not, Lost says
	// what could not, in words for people.
	Complete bool
	Lost     string

	// Holes is whether records are missing of the checkpoint itself, so that what
	// was read is no state that ever was.
	Holes bool
}

// Visitor is told what a journal holds, in the order in which it was
// committed. Fields may be nil. What is passed may be kept. An error ends the
// reading and is returned.
type Visitor struct {
	Put     func(k efs.Key, version uint64, sealed []byte) error
	Delete  func(k efs.Key) error
	Queue   func(r efs.Release) error // into the release queue
	Unqueue func(r efs.Release) error // out of it; Revision and Content tell which
}
