package archive

import (
	"archive/tar"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// Member is a file, directory or symbolic link in an archive.
type Member struct {
	Name     string            // path below the archive's root, without slashes around it
	Kind     efs.Kind          //
	Size     int64             // of a file, bytes
	Mode     uint32            // permission bits; 0: the file system keeps none
	Modified time.Time         // to the microsecond
	Created  time.Time         // zero: not told
	Type     string            // content type
	Meta     map[string]string // user metadata
	Target   string            // of a symbolic link, as it was given
	SHA256   string            // hex, of a file's contents; "": not told
	Version  uint64            // of the file; 0: not told
	Owner    string            // who wrote this version; "": not told

	// Removed is set for the list of what an incremental archive removes
	// (Reader.EachRemoved reads it), which is none of the members proper.
	Removed bool

	// Lost are the parts of its contents that are lost, in order: they read as
	// zeros. Only for readers that keep going.
	Lost []Range
}

// DamagedSuffix ends the names under which members come out of which parts are
// lost, so that none is taken for the whole.
const DamagedSuffix = ".efs-damaged"

// OutName is the name under which a member comes out of an archive.
func (m *Member) OutName() string {
	if len(m.Lost) > 0 {
		return m.Name + DamagedSuffix
	}
	return m.Name
}

// Range is a run of bytes.
type Range struct {
	From int64 `json:"from"` // the first byte
	To   int64 `json:"to"`   // the byte after the last
}

// maxName is how long a name may be, bytes. Directories that were moved below
// others make paths longer than efs.MaxPath, by which nobody can ask for them.
const maxName = 256 << 10

// maxSize is more than any file has, and leaves room to calculate with.
const maxSize = 1 << 60

// Modes of what has none of its own.
const (
	fileMode = 0o644
	dirMode  = 0o755
	linkMode = 0o777
)

// The PAX records of a member, all of them extended attributes, which is what
// tar programs know to keep or to leave out.
const (
	xattr      = "SCHILY.xattr.user."
	recType    = xattr + "mime_type"
	recOwn     = xattr + "efs."
	recPlace   = recOwn + "at"      // MARK/OFFSET/NUMBER of the member's first block
	recSHA256  = recOwn + "sha256"  // hex
	recVersion = recOwn + "version" // decimal
	recCreated = recOwn + "created" // RFC 3339
	recOwner   = recOwn + "owner"
	recNoMode  = recOwn + "no_mode" // "1": the mode in the tar is a default
	recRemoved = recOwn + "removed" // "1": this is the list of removed paths
	recMeta    = recOwn + "meta."   // metadata that cannot stand under its own name

	// Of a symbolic link: all of its records, without the prefix, as the query of
	// a URL. Attributes of that kind exist for no symbolic link, and bsdtar
	// reports each that it cannot set as a failure.
	recComment = "comment"
)

// removedName is the name of the list of removed paths. A file of that name is
// told from it by its lack of recRemoved.
const removedName = ".efs-removed"

// metaKey returns the record of a piece of metadata: under its own name where
// that is one an extended attribute may have, and no other record's.
func metaKey(k string) string {
	plain := k != "" && !strings.ContainsFunc(k, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if plain && k != "mime_type" && !strings.HasPrefix(k, "efs.") {
		return xattr + k
	}
	return recMeta + strings.ReplaceAll(url.PathEscape(k), "=", "%3D")
}

// header makes the tar header of m, whose place in the archive is at.
func (m *Member) header(at string) (*tar.Header, error) {
	if !m.Removed && !ValidName(m.Name) {
		return nil, fmt.Errorf("%w: %q cannot be the name of a member", ErrFormat, m.Name)
	}
	h := &tar.Header{Format: tar.FormatPAX, Name: m.Name, ModTime: m.Modified, PAXRecords: map[string]string{recPlace: at}}
	switch m.Kind {
	case efs.KindDir:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, m.Name+"/", dirMode
	case efs.KindSymlink:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, m.Target, linkMode
	case efs.KindFile:
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, m.Size, fileMode
	default:
		return nil, fmt.Errorf("%w: %q is a %v", ErrFormat, m.Name, m.Kind)
	}
	m.records(h)
	if m.Kind == efs.KindSymlink {
		h.PAXRecords = intoComment(h.PAXRecords)
	}
	return h, nil
}

func intoComment(records map[string]string) map[string]string {
	q := url.Values{}
	for k, v := range records {
		q.Set(strings.TrimPrefix(k, xattr), v)
	}
	return map[string]string{recComment: q.Encode()}
}

// recordsOf returns the records of a tar header, wherever they stand.
func recordsOf(h *tar.Header) (map[string]string, error) {
	comment := h.PAXRecords[recComment]
	if h.Typeflag != tar.TypeSymlink || comment == "" {
		return h.PAXRecords, nil
	}
	q, err := url.ParseQuery(comment)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(h.PAXRecords)
	for k := range q {
		all[xattr+k] = q.Get(k)
	}
	return all, nil
}

func (m *Member) records(h *tar.Header) {
	set := func(key, value string) {
		if value != "" {
			h.PAXRecords[key] = value
		}
	}
	if m.Mode != 0 {
		h.Mode = int64(m.Mode & 0o7777)
	} else if m.Kind != efs.KindSymlink {
		set(recNoMode, "1")
	}
	set(recType, m.Type)
	set(recSHA256, m.SHA256)
	set(recOwner, m.Owner)
	if m.Version != 0 {
		set(recVersion, strconv.FormatUint(m.Version, 10))
	}
	if !m.Created.IsZero() {
		set(recCreated, m.Created.UTC().Format(time.RFC3339Nano))
	}
	if m.Removed {
		set(recRemoved, "1")
	}
	for k, v := range m.Meta {
		h.PAXRecords[metaKey(k)] = v
	}
}

// memberOf reads a tar header.
func memberOf(h *tar.Header) (*Member, error) {
	m := &Member{Name: h.Name, Modified: h.ModTime.UTC(), Mode: uint32(h.Mode & 0o7777)}
	switch h.Typeflag {
	case tar.TypeDir:
		m.Kind, m.Name = efs.KindDir, strings.TrimSuffix(h.Name, "/")
	case tar.TypeSymlink:
		m.Kind, m.Target, m.Mode = efs.KindSymlink, h.Linkname, 0
	case tar.TypeReg:
		m.Kind, m.Size = efs.KindFile, h.Size
	default:
		return nil, fmt.Errorf("%w: %q is of type %q, which no archive has", ErrFormat, h.Name, h.Typeflag)
	}
	if m.Size < 0 || m.Size > maxSize {
		return nil, fmt.Errorf("%w: %q has %d bytes", ErrFormat, h.Name, m.Size)
	}
	records, err := recordsOf(h)
	if err != nil {
		return nil, fmt.Errorf("%w: record %s of %q", ErrFormat, recComment, h.Name)
	}
	for k, v := range records {
		if strings.HasPrefix(k, "GNU.sparse.") { // its size in the tar is another
			return nil, fmt.Errorf("%w: %q is sparse, as no member of an archive is", ErrFormat, h.Name)
		}
		if err := m.read(k, v); err != nil {
			return nil, fmt.Errorf("%w: record %s of %q", ErrFormat, k, h.Name)
		}
	}
	if !ValidName(m.Name) {
		return nil, fmt.Errorf("%w: %q cannot be the name of a member", ErrFormat, h.Name)
	}
	return m, nil
}

// read takes up a record. Those of later versions that it does not know are
// passed over.
func (m *Member) read(k, v string) (err error) {
	name, ours := strings.CutPrefix(k, xattr)
	switch {
	case !ours:
	case k == recType:
		m.Type = v
	case k == recSHA256:
		m.SHA256 = v
		if sum, err := hex.DecodeString(v); err != nil || len(sum) != 32 {
			return ErrFormat
		}
	case k == recVersion:
		m.Version, err = strconv.ParseUint(v, 10, 64)
	case k == recCreated:
		m.Created, err = time.Parse(time.RFC3339Nano, v)
	case k == recOwner:
		m.Owner = v
	case k == recNoMode:
		m.Mode = 0
	case k == recRemoved:
		m.Removed = true
	case strings.HasPrefix(k, recMeta):
		if name, err = url.PathUnescape(strings.TrimPrefix(k, recMeta)); err == nil {
			m.meta(name, v)
		}
	case !strings.HasPrefix(k, recOwn):
		m.meta(name, v)
	}
	return err
}

func (m *Member) meta(k, v string) {
	if m.Meta == nil {
		m.Meta = map[string]string{}
	}
	m.Meta[k] = v
}

// ValidName reports whether name may be that of a member: one that stays below
// the directory it is put in, whatever that is.
func ValidName(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return false
	}
	for s := range strings.SplitSeq(name, "/") {
		if s == "" || s == "." || s == ".." {
			return false
		}
	}
	return true
}

// place is where a member's first block is to be.
type place struct {
	mark   string
	offset int64 // in the tar, bytes
	number int64 // of the member, counted from 0
}

func (p place) String() string { return fmt.Sprintf("%s/%x/%x", p.mark, p.offset, p.number) }

func parsePlace(s string) (p place, ok bool) {
	f := strings.Split(s, "/")
	if len(f) != 3 || f[0] == "" {
		return place{}, false
	}
	offset, err1 := strconv.ParseInt(f[1], 16, 64)
	number, err2 := strconv.ParseInt(f[2], 16, 64)
	return place{f[0], offset, number}, err1 == nil && err2 == nil && offset >= 0 && number >= 0
}
