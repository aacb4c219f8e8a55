package bolt

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// formatVersion is the version of everything this package writes. Version 1 had
// no log; such an index becomes one of this version with the first commit.
const (
	formatVersion  = 2
	formatUnlogged = 1
)

// Numbers of the buckets in the log. Those of the keyspaces are the keyspaces'
// own.
const (
	bucketChanges = 64 + iota
	bucketQueue
	bucketMarks
	bucketUsage
	bucketMeta
	numBuckets
)

var (
	metaFormat = []byte("format")
	metaFS     = []byte("fs")
	metaHead   = []byte("head")
	metaLog    = []byte("log")
)

// names are those of the buckets in the file.
var names = [numBuckets][]byte{
	efs.SpacePlaces:   []byte("places"),
	efs.SpaceEntries:  []byte("entries"),
	efs.SpaceFiles:    []byte("files"),
	efs.SpaceInline:   []byte("inline"),
	efs.SpaceVersions: []byte("versions"),
	efs.SpaceContents: []byte("contents"),
	efs.SpaceUploads:  []byte("uploads"),
	efs.SpaceNames:    []byte("names"),
	efs.SpaceAccess:   []byte("access"),
	efs.SpaceMeta:     []byte("work"),

	bucketChanges: []byte("changes"),
	bucketQueue:   []byte("queue"),
	bucketMarks:   []byte("marks"),
	bucketUsage:   []byte("usage"),
	bucketMeta:    []byte("meta"),
}

// bucketName returns the name of a bucket, nil if there is none of that number.
func bucketName(b byte) []byte {
	if int(b) >= len(names) {
		return nil
	}
	return names[b]
}

// appends tells the buckets whose keys begin with the time or a number that
// grows: their pages are filled to the brim, as nothing is inserted between them
// later.
func appends(b byte) bool {
	switch b {
	case byte(efs.SpaceFiles), byte(efs.SpaceInline), bucketChanges, bucketQueue:
		return true
	}
	return false
}

// How full pages are made: those at whose end records are appended to the brim,
// others with room for the records that come between those there.
const (
	appendFill = 1.0
	randomFill = 0.75
)

func damaged(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, efs.ErrDamaged)...)
}

// A record's value is its version, 8 bytes, and what was sealed.
const versionLen = 8

func recordVersion(v []byte) uint64 {
	if len(v) < versionLen {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// A change's value is its link, 32 bytes, and what was sealed.
const linkLen = 32

func parseChange(k, v []byte) (efs.SealedChange, error) {
	if len(k) != 8 || len(v) < linkLen {
		return efs.SealedChange{}, damaged("change log: malformed record")
	}
	c := efs.SealedChange{Seq: binary.BigEndian.Uint64(k)}
	copy(c.Link[:], v)
	c.Sealed = v[linkLen:]
	return c, nil
}

// The release queue: revision ‖ content → seq ‖ flags.
const (
	queueKeyLen   = 8 + 16
	queueValueLen = 8 + 1

	flagInline    = 1 << 0
	flagUnordered = 1 << 1 // dropped by a transaction without a change: after seq, not by it
)

type queued struct {
	efs.Release
	unordered bool
}

func queueKey(r efs.Release) []byte {
	k := make([]byte, queueKeyLen)
	binary.BigEndian.PutUint64(k, r.Revision)
	copy(k[8:], r.Content[:])
	return k
}

func queueValue(r efs.Release, unordered bool) []byte {
	v := make([]byte, queueValueLen)
	binary.BigEndian.PutUint64(v, r.Seq)
	if r.Inline {
		v[8] |= flagInline
	}
	if unordered {
		v[8] |= flagUnordered
	}
	return v
}

func parseQueued(k, v []byte) (queued, error) {
	if len(k) != queueKeyLen || len(v) != queueValueLen {
		return queued{}, damaged("release queue: malformed record")
	}
	q := queued{unordered: v[8]&flagUnordered != 0}
	q.Revision = binary.BigEndian.Uint64(k)
	copy(q.Content[:], k[8:])
	q.Seq = binary.BigEndian.Uint64(v)
	q.Inline = v[8]&flagInline != 0
	return q, nil
}

// protected reports whether a hold at seq covers q: whether q was dropped
// after that change.
func (q queued) protected(seq uint64) bool {
	return q.Seq > seq || q.Seq == seq && q.unordered
}

// A mark: kind ‖ name → seq ‖ expiry in Unix microseconds, 0 for never.
const (
	maxMarkName  = 255
	markValueLen = 16
)

func markKey(kind efs.MarkKind, name string) []byte {
	return append([]byte{byte(kind)}, name...)
}

func markValue(m efs.Mark) []byte {
	v := make([]byte, markValueLen)
	binary.BigEndian.PutUint64(v, m.Seq)
	if !m.Expires.IsZero() {
		binary.BigEndian.PutUint64(v[8:], uint64(m.Expires.UnixMicro()))
	}
	return v
}

func parseMark(k, v []byte) (efs.Mark, error) {
	if len(k) < 1 || len(v) != markValueLen {
		return efs.Mark{}, damaged("marks: malformed record")
	}
	m := efs.Mark{Kind: efs.MarkKind(k[0]), Name: string(k[1:]), Seq: binary.BigEndian.Uint64(v)}
	if us := binary.BigEndian.Uint64(v[8:]); us != 0 {
		m.Expires = time.UnixMicro(int64(us))
	}
	return m, nil
}

// What an account uses: bytes ‖ files, 8 bytes each, signed.
const usageLen = 16

func usageValue(u efs.Usage) []byte {
	v := make([]byte, usageLen)
	binary.BigEndian.PutUint64(v, uint64(u.Bytes))
	binary.BigEndian.PutUint64(v[8:], uint64(u.Files))
	return v
}

func parseUsage(v []byte) (efs.Usage, error) {
	switch len(v) {
	case 0:
		return efs.Usage{}, nil
	case usageLen:
		return efs.Usage{
			Bytes: int64(binary.BigEndian.Uint64(v)),
			Files: int64(binary.BigEndian.Uint64(v[8:])),
		}, nil
	}
	return efs.Usage{}, damaged("usage: malformed record")
}

// A change's key is its number.
const seqLen = 8

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
