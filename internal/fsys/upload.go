package fsys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// An upload in parts is leased: each part is durable when it is confirmed, the
// file comes to be in one transaction, and what is not completed vanishes. In
// SpaceUploads there is a record of it under its id, and one of each part under
// id ‖ number (4 bytes, big endian). Every change of a part rewrites the upload's
// record, whose version thus stands for all of it. "Uploads in parts" in
// docs/index.md specifies it.

// The limits of uploads in parts.
const (
	MaxParts   = 1000           // of an upload; each is an extent of the file
	MaxUploads = 100            // that a user may have open
	UploadTime = 24 * time.Hour // after the last part until an upload vanishes
)

// ErrParts says that an upload cannot be completed with the parts that were
// named: one is missing, or is another than the caller means.
var ErrParts = fmt.Errorf("%w: parts of an upload", efs.ErrBadInput)

// ErrTooMany says that a user has as many uploads open as a user may have.
var ErrTooMany = fmt.Errorf("%w: too many uploads are open", efs.ErrRefused)

// UploadOptions says what is to be stored with a file that is uploaded in
// parts. Cond is judged at once, so that nothing is sent in vain.
type UploadOptions struct {
	Who
	Cond
	Type     string
	Meta     map[string]string
	Modified time.Time // zero: when it is completed
	Mode     uint32
}

// PartOptions says what is known of a part before it is read.
type PartOptions struct {
	Who
	SHA256 []byte // expected digest; nil: not checked
	Size   int64  // expected length; -1: unknown
}

// CompleteOptions says of which parts a file is made.
type CompleteOptions struct {
	Who
	Cond
	Parts  []UploadPart // in order of their numbers; what is not named is dropped. Size is not looked at
	SHA256 []byte       // expected digest of the whole file; nil: not checked
}

// Upload is an upload in parts that is open.
type Upload struct {
	ID      efs.ID
	Path    string // without slashes around it
	User    string // who began it, and alone may go on
	Began   time.Time
	Expires time.Time    // unless a part comes before
	Parts   []UploadPart // that are there, by number
}

// UploadPart is a part that is durable.
type UploadPart struct {
	Number int // 1 to MaxParts
	Size   int64
	SHA256 []byte
}

// uploadRecord is the record of an upload in SpaceUploads, sealed for the unit
// that its file is to belong to.
type uploadRecord struct {
	Path     string            `cbor:"1,keyasint"`
	File     efs.ID            `cbor:"2,keyasint"` // that trailers of its contents name
	User     string            `cbor:"3,keyasint,omitempty"`
	Began    int64             `cbor:"4,keyasint"` // Unix time, microseconds, as all here
	Expires  int64             `cbor:"5,keyasint"`
	Type     string            `cbor:"6,keyasint,omitempty"`
	Meta     map[string]string `cbor:"7,keyasint,omitempty"`
	Mode     uint32            `cbor:"8,keyasint,omitempty"`
	Modified int64             `cbor:"9,keyasint,omitempty"`
	Hashed   int               `cbor:"10,keyasint,omitempty"` // how many of the first parts Hash covers; -1: it was lost
	Hash     []byte            `cbor:"11,keyasint,omitempty"` // state of SHA-256, as crypto/sha256 writes it
}

// partRecord is the record of a part.
type partRecord struct {
	Extent  efs.Extent `cbor:"1,keyasint"` // Offset is not known yet
	SHA256  []byte     `cbor:"2,keyasint"`
	Account efs.ID     `cbor:"3,keyasint,omitzero"` // of the user, that it was counted in
}

// leased is an upload as it was read.
type leased struct {
	uploadRecord
	id      efs.ID
	version uint64
	unit    *unit
}

// leasedPart is a part as it was read.
type leasedPart struct {
	partRecord
	number  int
	version uint64
}

func uploadKey(id efs.ID) efs.Key { return efs.Key{Space: efs.SpaceUploads, Bytes: id[:]} }

func partKey(id efs.ID, number int) efs.Key {
	return efs.Key{Space: efs.SpaceUploads, Bytes: binary.BigEndian.AppendUint32(id[:len(id):len(id)], uint32(number))}
}

// splitUploadKey returns the upload and the number of the part that a key
// names, 0 for the upload itself.
func splitUploadKey(key []byte) (id efs.ID, number int, err error) {
	switch len(key) {
	case 16:
		return efs.ID(key), 0, nil
	case 20:
		if n := binary.BigEndian.Uint32(key[16:]); n >= 1 && n <= MaxParts {
			return efs.ID(key[:16]), int(n), nil
		}
	}
	return id, 0, fmt.Errorf("%w: a key of %d bytes of an upload", efs.ErrDamaged, len(key))
}

var errNoUpload = fmt.Errorf("%w: there is no such upload, or it has expired", efs.ErrNotFound)

// upload reads an upload. efs.ErrNotFound if there is none, or it has expired.
func (fs *FS) upload(ctx context.Context, id efs.ID) (*leased, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	up, err := fs.readUpload(ctx, id)
	if err == nil && up.Expires <= fs.now() {
		err = errNoUpload
	}
	return up, err
}

// readUpload is upload, of one that has expired too.
func (fs *FS) readUpload(ctx context.Context, id efs.ID) (*leased, error) {
	key := uploadKey(id)
	recs, err := fs.o.Index.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if recs[0].Version == 0 {
		return nil, errNoUpload
	}
	return fs.openUpload(id, &recs[0])
}

func (fs *FS) openUpload(id efs.ID, r *efs.Record) (*leased, error) {
	up := &leased{id: id, version: r.Version}
	b, u, err := fs.openRecord(efs.SpaceUploads, id[:], r.Sealed)
	if err == nil {
		up.unit, err = u, decodeRecord(b, &up.uploadRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	return up, nil
}

// ownUpload is upload, for who began it; to others there is none.
func (fs *FS) ownUpload(ctx context.Context, id efs.ID, who Who) (*leased, error) {
	up, err := fs.upload(ctx, id)
	if isForgotten(err) || err == nil && up.User != who.User {
		return nil, errNoUpload
	}
	return up, err
}

// parts reads the parts of an upload, by number.
func (fs *FS) uploadParts(ctx context.Context, id efs.ID) (parts []leasedPart, err error) {
	err = fs.scan(ctx, efs.SpaceUploads, id[:], scanPage, func(r *efs.Record) error {
		_, n, err := splitUploadKey(r.Key)
		if err != nil || n == 0 {
			return err
		}
		p, err := fs.openUploadPart(n, r)
		if err == nil {
			parts = append(parts, *p)
		}
		return err
	})
	return parts, err
}

func (fs *FS) openUploadPart(number int, r *efs.Record) (*leasedPart, error) {
	p := &leasedPart{number: number, version: r.Version}
	if err := fs.open(efs.SpaceUploads, r.Key, r.Sealed, &p.partRecord); err != nil {
		return nil, fmt.Errorf("part %d of an upload: %w", number, err)
	}
	return p, nil
}

func (p *leasedPart) public() UploadPart {
	return UploadPart{Number: p.number, Size: p.Extent.Length, SHA256: p.SHA256}
}

// OpenUpload describes an upload to who began it, with the parts that are
// there. efs.ErrNotFound.
func (fs *FS) OpenUpload(ctx context.Context, id efs.ID, who Who) (*Upload, error) {
	up, err := fs.ownUpload(ctx, id, who)
	if err != nil {
		return nil, err
	}
	parts, err := fs.uploadParts(ctx, id)
	if err != nil {
		return nil, err
	}
	all := make([]UploadPart, len(parts))
	for i := range parts {
		all[i] = parts[i].public()
	}
	u := up.public()
	u.Parts = all
	return u, nil
}

// FindUpload is OpenUpload without the parts.
func (fs *FS) FindUpload(ctx context.Context, id efs.ID, who Who) (*Upload, error) {
	up, err := fs.ownUpload(ctx, id, who)
	if err != nil {
		return nil, err
	}
	return up.public(), nil
}

func (up *leased) public() *Upload {
	return &Upload{ID: up.id, Path: up.Path, User: up.User, Began: time.UnixMicro(up.Began), Expires: time.UnixMicro(up.Expires)}
}

// BeginUpload begins to store the file at path in parts. Nothing of it is to be
// seen before CompleteUpload; what is not completed within UploadTime after the
// last part vanishes. If the file is to lie in an erasure unit that there is not
// yet, the directories above it are made at once, as the unit's key seals the
// parts.
//
// Errors are those of Put, and ErrTooMany.
func (fs *FS) BeginUpload(ctx context.Context, path string, o UploadOptions) (_ *Upload, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.BeginUpload")
	defer func() { span.EndWith(err) }()
	segs, err := parseFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkAttributes(o.Type, o.Meta, o.Mode); err != nil {
		return nil, err
	}
	if err := fs.ready(); err != nil {
		return nil, err
	}
	up := &leased{id: efs.NewID(), uploadRecord: uploadRecord{
		Path: join(segs), User: o.User, Type: o.Type, Meta: o.Meta, Mode: o.Mode,
	}}
	if !o.Modified.IsZero() {
		up.Modified = o.Modified.UnixMicro()
	}
	if !fs.uploads.enter(up.id, o.User) {
		return nil, fmt.Errorf("%w: %d at most: complete or abort one, or wait until one expires", ErrTooMany, MaxUploads)
	}
	if err := retry(func() error { return fs.beginUpload(ctx, up, segs, &o) }); err != nil {
		if !errors.Is(err, efs.ErrStopped) {
			fs.uploads.leave(up.id)
		}
		return nil, err
	}
	fs.uploads.renew(up.id, up.Expires)
	return up.public(), nil
}

// beginUpload commits the record of an upload. The transaction pins the path:
// whoever forgets its erasure unit, or makes one of its directory, sees it.
func (fs *FS) beginUpload(ctx context.Context, up *leased, segs []string, o *UploadOptions) error {
	p := &put{fs: fs, segs: segs, o: PutOptions{Who: o.Who, Cond: o.Cond}}
	s, err := p.locate(ctx)
	if err != nil {
		return err
	}
	t := fs.begin(o.Who)
	if t.needsUnit(s) {
		_, err := fs.Mkdir(ctx, join(segs[:len(segs)-1]), MkdirOptions{Who: o.Who, Parents: true})
		if err == nil || errors.Is(err, efs.ErrExists) {
			err = fmt.Errorf("%w: the directory was made", efs.ErrConflict) // look again
		}
		return err
	}
	up.unit, up.Began, up.Expires = s.unit, t.now, t.now+UploadTime.Microseconds()
	up.File = efs.NewTimeID()
	if s.entry != nil {
		up.File = s.entry.File
	}
	t.pin(s)
	t.putUpload(up)
	_, err = t.commit(ctx)
	return err
}

// putUpload writes the record of an upload, if it is still the one that was
// read.
func (t *txn) putUpload(up *leased) {
	key := uploadKey(up.id)
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Key: key, Version: up.version})
	t.putIn(up.unit, key.Space, key.Bytes, up.uploadRecord)
}
