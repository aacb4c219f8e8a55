package fsys

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// Put stores body as the file at path, in place of what was there, and returns
// when that is durable. Missing parents are made in the same transaction.
//
// Until the transaction has committed nothing of it is to be seen; an error
// means that the path is as it was, but for efs.ErrStopped, after which the
// outcome is unknown. Other errors: efs.ErrPrecondition, efs.ErrDigest,
// efs.ErrIsDir, efs.ErrNotDir, efs.ErrBadPath, efs.ErrBadInput, efs.ErrQuota,
// efs.ErrNoSpace, and what reading body returned.
func (fs *FS) Put(ctx context.Context, path string, body io.Reader, o PutOptions) (PutResult, error) {
	segs, err := parseFile(path)
	if err != nil {
		return PutResult{}, err
	}
	if err := checkAttributes(o.Type, o.Meta, o.Mode); err != nil {
		return PutResult{}, err
	}
	if err := fs.ready(); err != nil {
		return PutResult{}, err
	}
	p := &put{fs: fs, segs: segs, o: o}
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Put")
	res, err := p.run(ctx, body)
	span.EndWith(err)
	return res, err
}

// put is one store under way.
type put struct {
	fs     *FS
	segs   []string
	o      PutOptions
	create bool     // the path must have no entry
	file   efs.ID   // that the trailer of the blob names
	fresh  bool     // file is new
	how    *sealing // of the blob
	units  unitMaker
	res    PutResult
}

// run reads the beginning of body: what fits the inline limit is sealed and
// committed in one write, the rest becomes a blob.
func (p *put) run(ctx context.Context, body io.Reader) (PutResult, error) {
	p.units.fs = p.fs
	defer func() { p.units.end(ctx) }()
	limit := p.fs.policy.Load().InlineLimit
	if p.o.Size < 0 || p.o.Size > int64(limit) {
		// The first read of a body may be what asks its sender for all of it.
		if err := p.welcome(ctx); err != nil {
			return p.res, err
		}
	}
	buf := getBuffer(limit + 1)
	defer putBuffer(buf)
	n, end, err := readUpTo(body, *buf)
	switch {
	case err != nil:
		err = fmt.Errorf("reading the body: %w", err)
	case !end:
		err = p.large(ctx, io.MultiReader(bytes.NewReader(*buf), body))
	default:
		if err = p.checkSize(int64(n)); err == nil {
			err = p.small(ctx, (*buf)[:n])
		}
	}
	return p.res, err
}

// welcome judges, before any of a body is read, whether it may be stored.
func (p *put) welcome(ctx context.Context) error {
	s, err := p.locate(ctx)
	if err != nil {
		return err
	}
	return p.fs.affordable(ctx, p.o.User, s.entry, p.o.Size)
}

// locate looks the path up and judges whether a file may be stored there.
func (p *put) locate(ctx context.Context) (*spot, error) {
	s, err := p.fs.locate(ctx, p.segs)
	if err != nil {
		return nil, err
	}
	return s, p.admit(s)
}

// readUpTo fills b from r and tells whether r ended before. Unlike io.ReadFull
// it keeps the end of a body apart from a body that was cut off, whose reader
// returns io.ErrUnexpectedEOF.
func readUpTo(r io.Reader, b []byte) (n int, end bool, err error) {
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

func (p *put) checkSize(n int64) error {
	if p.o.Size >= 0 && n != p.o.Size {
		return fmt.Errorf("%w: the body has %d bytes, %d were announced", efs.ErrBadInput, n, p.o.Size)
	}
	return nil
}

func (p *put) checkDigest(sum []byte) error {
	if p.o.SHA256 != nil && subtle.ConstantTimeCompare(p.o.SHA256, sum) != 1 {
		return fmt.Errorf("%w: the body is not what its digest says", efs.ErrDigest)
	}
	return nil
}

// admit judges whether a file may be stored at s.
func (p *put) admit(s *spot) error {
	if s.entry != nil && s.entry.Kind == efs.KindDir {
		return fmt.Errorf("%w: '%s'", efs.ErrIsDir, s.path())
	}
	if s.entry != nil && p.create {
		return fmt.Errorf("%w: '%s'", efs.ErrExists, s.path())
	}
	return p.o.Cond.check(s.entry)
}

// entry is the entry that the store makes at s, without its contents.
func (p *put) entry(s *spot, t *txn) *efs.Entry {
	e := &efs.Entry{
		File: efs.NewTimeID(), Kind: efs.KindFile, Version: 1, ETag: newETag(),
		Created: t.now, Modified: t.now, Type: p.o.Type, Meta: p.o.Meta,
		Owner: p.o.User, Mode: p.o.Mode, Name: s.name(),
	}
	if !p.o.Modified.IsZero() {
		e.Modified = p.o.Modified.UnixMicro()
	}
	if old := s.entry; old != nil {
		e.File, e.Version, e.Created = old.File, old.Version+1, old.Created
	}
	return e
}

// recovery is what the trailer of the only content of e tells.
func recovery(path string, e *efs.Entry) seal.Recovery {
	return seal.Recovery{
		Path: path, File: e.File, Version: e.Version, Extents: 1,
		Created: e.Created, Modified: e.Modified, Type: e.Type, Meta: e.Meta,
		Owner: e.Owner, Mode: e.Mode,
	}
}

// fill sets what e has from its only content.
func (s *sealing) fill(e *efs.Entry, info seal.Info, inline bool) {
	e.Size, e.Digest, e.DigestKind = info.Size, info.SHA256[:], efs.DigestFull
	e.Extents = []efs.Extent{s.extent(info, inline)}
}

// small stores a body that is at hand: the sealed file goes into the index in
// the transaction that makes the entry.
func (p *put) small(ctx context.Context, plain []byte) error {
	return retry(func() error {
		s, err := p.locate(ctx)
		if err != nil {
			return err
		}
		t, u, err := p.begin(ctx, s)
		if err != nil {
			return err
		}
		e := p.entry(s, t)
		id := efs.NewTimeID()
		how, err := p.fs.sealing(u, id)
		if err != nil {
			return err
		}
		sealed, info, err := seal.SealBytes(nil, plain, &how.Params, recovery(s.path(), e))
		if err != nil {
			return fmt.Errorf("sealing: %w", err)
		}
		if err := p.checkDigest(info.SHA256[:]); err != nil {
			return err
		}
		how.fill(e, info, true)
		t.epoch = how.epoch
		t.raw(efs.SpaceInline, id[:], sealed)
		return p.commit(ctx, s, t, e)
	})
}

// begin begins the transaction that stores at s, and returns the unit that the
// file belongs to.
func (p *put) begin(ctx context.Context, s *spot) (*txn, *unit, error) {
	t := p.fs.begin(p.o.Who)
	t.maker = &p.units
	u, err := t.home(ctx, s)
	return t, u, err
}

// commit puts e at s and fills in the result.
func (p *put) commit(ctx context.Context, s *spot, t *txn, e *efs.Entry) error {
	t.pin(s)
	key := t.parents(ctx, s)
	u := t.at.unit
	t.entry(u, key, e)
	op := efs.OpReplace
	if s.entry == nil {
		op = efs.OpCreate
		file := e.File
		t.putIn(u, efs.SpaceFiles, file[:], key[:])
	} else {
		t.drop(s.entry, s.key[:], s.version)
	}
	t.gain(e)
	t.changeIn(u, &efs.Change{Op: op, Path: s.path(), Dir: key.dir(), Before: s.entry, After: e})
	c, err := t.commit(ctx)
	if err != nil {
		return err
	}
	p.res = PutResult{Entry: *e, Created: s.entry == nil, Seq: c.Seq}
	return nil
}
