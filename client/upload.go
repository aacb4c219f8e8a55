package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The sizes of parts, in bytes.
const (
	DefaultPartSize = 16 << 20
	maxParts        = 1000 // that a server takes of one file
)

// UploadOptions says how a file is to be uploaded in parts. Of PutOptions, Size
// does not apply.
type UploadOptions struct {
	PutOptions

	PartSize int64  // bytes; 0: DefaultPartSize. Larger where the file would have too many
	Resume   string // id of an upload that broke off, to be gone on with; "": begin one

	// Started is called with the id of the upload before anything is sent, and
	// again where Resume named one that is no more. Whoever keeps it can resume
	// after a failure; where Started is nil, what failed is dropped.
	Started func(id string)
}

// Upload stores size bytes of r as the file at path, in parts: what was
// confirmed need not be sent again, by a later call with Resume either. Nothing
// is to be seen at path before all is there. It returns as Put does, when the
// server has confirmed that the file is on stable storage and has the SHA-256 of
// what was read; a file of one part is Put.
//
// r must hold the same bytes when an upload is resumed; where it does not, parts
// that differ are sent anew. Progress is told of parts that were there before,
// too. ErrBadInput if r is shorter than size.
func (c *Client) Upload(ctx context.Context, path string, r io.ReaderAt, size int64, o UploadOptions) (*Stored, error) {
	name, err := clean(path)
	if err == nil && name == "/" {
		err = ErrIsDir
	}
	if err == nil && (size < 0 || o.PartSize < 0) {
		err = fmt.Errorf("%w: a negative size", ErrBadInput)
	}
	if err != nil {
		return nil, fmt.Errorf("storing %s: %w", path, err)
	}
	if o.PartSize == 0 {
		o.PartSize = DefaultPartSize
	}
	if size <= o.PartSize && o.Resume == "" {
		put := o.PutOptions
		put.Size = 0 // the section tells
		return c.Put(ctx, path, io.NewSectionReader(r, 0, size), put)
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	u := &upload{c: c, op: "storing " + path, path: name, r: r, size: size, o: o, hash: sha256.New()}
	stored, err := u.run(ctx)
	if err != nil && u.id != "" && o.Started == nil {
		u.abort(ctx)
	}
	return stored, err
}

// AbortUpload drops an upload that is not to be gone on with, and what it holds
// on the server; else it would vanish a day after its last part. ErrNotFound
// where there is none (any more).
func (c *Client) AbortUpload(ctx context.Context, id string) error {
	u := &upload{c: c, op: "dropping an upload"}
	_, err := u.send(ctx, http.MethodDelete, "/"+url.PathEscape(id), nil, nil, nil)
	return err
}

// upload is one call of Upload.
type upload struct {
	c    *Client
	op   string
	path string
	r    io.ReaderAt
	size int64
	o    UploadOptions

	id    string
	there map[int]uploadPart // parts that the server has
	parts []uploadPart       // that the file is made of, so far
	sent  int64              // bytes of them
	hash  hash.Hash          // of them

	repeated bool // the last request may have been carried out more than once
}

type uploadPart struct {
	Part   int    `json:"part"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256"`
}

func (u *upload) run(ctx context.Context) (*Stored, error) {
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	stored, err := u.finish(ctx)
	if errors.Is(err, errUploadGone) && u.o.Resume != "" {
		// It vanished while it was gone on with.
		u.o.Resume = ""
		u.o.Progress(-u.sent)
		u.parts, u.sent = nil, 0
		u.hash.Reset()
		if err := u.begin(ctx); err != nil {
			return nil, err
		}
		stored, err = u.finish(ctx)
	}
	return stored, err
}

func (u *upload) finish(ctx context.Context) (*Stored, error) {
	for u.sent < u.size || len(u.parts) == 0 {
		if err := u.next(ctx); err != nil {
			return nil, err
		}
	}
	return u.complete(ctx)
}

// errUploadGone says that the server has no such upload (any more).
var errUploadGone = fmt.Errorf("%w: the upload is gone", ErrNotFound)

func (u *upload) begin(ctx context.Context) error {
	u.id, u.there = "", nil
	if u.o.Resume != "" {
		err := u.resume(ctx)
		if err == nil || !errors.Is(err, errUploadGone) {
			return err
		}
	}
	conditions, err := u.o.header(u.path)
	if err != nil {
		return fmt.Errorf("%s: %w", u.op, err)
	}
	doc := map[string]any{"path": u.path, "type": conditions.Get("Content-Type"), "meta": u.o.Meta}
	if u.o.Mode != 0 {
		doc["mode"] = FormatMode(u.o.Mode)
	}
	if !u.o.Modified.IsZero() {
		doc["modified"] = u.o.Modified.UTC().Format(time.RFC3339Nano)
	}
	var answer struct {
		Upload string `json:"upload"`
	}
	if _, err := u.send(ctx, http.MethodPost, "", doc, conditions, &answer); err != nil {
		return err
	}
	u.id = answer.Upload
	if u.o.Started != nil {
		u.o.Started(u.id)
	}
	return nil
}

// resume finds out which parts the server has.
func (u *upload) resume(ctx context.Context) error {
	u.id = u.o.Resume
	var answer struct {
		Path  string       `json:"path"`
		Parts []uploadPart `json:"parts"`
	}
	if _, err := u.send(ctx, http.MethodGet, "/"+u.id, nil, nil, &answer); err != nil {
		return err
	}
	if answer.Path != u.path {
		return fmt.Errorf("%s: %w: the upload that is to be resumed is of another path", u.op, ErrBadInput)
	}
	u.there = map[int]uploadPart{}
	for _, p := range answer.Parts {
		u.there[p.Part] = p
	}
	if u.o.Started != nil {
		u.o.Started(u.id)
	}
	return nil
}

// next sends a part, or finds that the server has it.
func (u *upload) next(ctx context.Context) error {
	n := len(u.parts) + 1
	size := min(u.partSize(), u.size-u.sent)
	section := func() *io.SectionReader { return io.NewSectionReader(u.r, u.sent, size) }
	have, ok := u.there[n]
	if ok && have.Size > 0 && have.Size <= u.size-u.sent {
		size = have.Size // as the parts were cut then
	}
	if ok {
		sum := sha256.New()
		if err := u.read(sum, section()); err != nil {
			return err
		}
		ok = have.Size == size && strings.EqualFold(have.SHA256, hex.EncodeToString(sum.Sum(nil)))
	}
	if !ok {
		p, err := u.sendPart(ctx, n, section(), size)
		if err != nil {
			return err
		}
		have = *p
	} else {
		u.o.Progress(size)
	}
	// Once more, for the digest of all: from the page cache, while it is warm.
	if err := u.read(u.hash, section()); err != nil {
		return err
	}
	u.parts = append(u.parts, uploadPart{Part: n, SHA256: have.SHA256})
	u.sent += size
	return nil
}

// partSize is the size of the next part: such that there are not too many.
func (u *upload) partSize() int64 {
	left := int64(maxParts - len(u.parts))
	if left <= 0 {
		return u.size - u.sent
	}
	return max(u.o.PartSize, (u.size-u.sent+left-1)/left)
}

func (u *upload) read(w io.Writer, s *io.SectionReader) error {
	n, err := io.Copy(w, s)
	if err == nil && n != s.Size() {
		err = fmt.Errorf("%w: it ends after %d bytes", ErrBadInput, u.sent+n)
	}
	if err != nil {
		return fmt.Errorf("%s: reading what is to be stored: %w", u.op, err)
	}
	return nil
}

// holds reads the last of so many bytes: a request that announced more than
// there is would only break off.
func (u *upload) holds(size int64) error {
	if size == 0 {
		return nil
	}
	n, err := u.r.ReadAt(make([]byte, 1), size-1)
	if n == 1 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it has fewer than %d bytes", ErrBadInput, size)
	}
	return err
}

// sendPart sends a part, and compares what the server stored with what was
// sent.
func (u *upload) sendPart(ctx context.Context, n int, s *io.SectionReader, size int64) (*uploadPart, error) {
	if err := u.holds(u.sent + size); err != nil {
		return nil, fmt.Errorf("%s: reading what is to be stored: %w", u.op, err)
	}
	src, err := newSource(s, size, u.o.Progress)
	if err != nil {
		return nil, fmt.Errorf("%s: reading what is to be stored: %w", u.op, err)
	}
	r := &call{op: u.op, method: http.MethodPut, path: u.url("/" + u.id + "/parts/" + strconv.Itoa(n)), body: src, safe: true, header: http.Header{}}
	r.header.Set("Content-Type", "application/octet-stream")
	resp, _, err := u.c.do(ctx, r)
	if err != nil {
		return nil, u.gone(err)
	}
	var p uploadPart
	if err := decode(resp, &p); err != nil {
		return nil, &opError{u.op, err}
	}
	sent, sum := src.sum()
	if p.Size != sent || !strings.EqualFold(p.SHA256, hex.EncodeToString(sum)) {
		return nil, fmt.Errorf("%s: %w: sent part %d of %d bytes with sha256 %x, the server stored %d bytes with %s: store it again", u.op, ErrDigest, n, sent, sum, p.Size, p.SHA256)
	}
	return &p, nil
}

// complete has the file made. If the answer was lost and the upload is gone, the
// file tells whether it was made.
func (u *upload) complete(ctx context.Context) (*Stored, error) {
	sum := hex.EncodeToString(u.hash.Sum(nil))
	if u.o.SHA256 != "" && !strings.EqualFold(u.o.SHA256, sum) {
		return nil, fmt.Errorf("%s: %w: what was read has sha256 %s, not %s", u.op, ErrDigest, sum, u.o.SHA256)
	}
	for i := range u.parts {
		u.parts[i].Size = 0 // the server knows
	}
	conditions, err := u.o.header(u.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.op, err)
	}
	stored := &Stored{}
	status, err := u.send(ctx, http.MethodPost, "/"+u.id+"/complete", map[string]any{"parts": u.parts, "sha256": sum}, conditions, stored)
	if errors.Is(err, errUploadGone) || errors.Is(err, ErrPrecondition) {
		if e, serr := u.c.Stat(ctx, u.path); serr == nil && e.SHA256 == sum && e.Size == u.size && u.repeated {
			return &Stored{Path: u.path, Size: e.Size, SHA256: sum, ETag: e.ETag, Version: e.Version}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	stored.Created = status == http.StatusCreated
	if stored.Size != u.size || stored.SHA256 != sum {
		return nil, fmt.Errorf("%s: %w: sent %d bytes with sha256 %s, the server stored %d bytes with %s: store it again", u.op, ErrDigest, u.size, sum, stored.Size, stored.SHA256)
	}
	return stored, nil
}

// abort drops the upload, as far as that is possible; what is left vanishes by
// itself.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, _ = u.send(ctx, http.MethodDelete, "/"+u.id, nil, nil, nil)
}

const abortTime = 5 * time.Second

func (u *upload) url(below string) string {
	return "/api/v1/buckets/" + u.c.cfg.Bucket + "/uploads" + below
}

// send makes a request about the upload and decodes its answer into v.
func (u *upload) send(ctx context.Context, method, below string, doc any, conditions http.Header, v any) (status int, err error) {
	r := &call{op: u.op, method: method, path: u.url(below), header: http.Header{}, patient: true, safe: true}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if h := conditions.Values(name); len(h) > 0 {
			r.header[name] = h
		}
	}
	if doc != nil {
		body, err := json.Marshal(doc)
		if err != nil {
			return 0, &opError{u.op, err}
		}
		if r.body, err = newSource(bytes.NewReader(body), -1, nil); err != nil {
			return 0, &opError{u.op, err}
		}
		r.header.Set("Content-Type", "application/json")
	}
	resp, repeated, err := u.c.do(ctx, r)
	u.repeated = repeated
	if err != nil {
		return 0, u.gone(err)
	}
	if v == nil {
		drain(resp.Body)
		return resp.StatusCode, nil
	}
	if err := decodeLong(resp, v); err != nil {
		return 0, &opError{u.op, err}
	}
	return resp.StatusCode, nil
}

// gone tells that the upload is not there from other failures.
func (u *upload) gone(err error) error {
	var refused *Error
	if errors.As(err, &refused) && refused.Type == "upload-not-found" {
		return fmt.Errorf("%w: %w", errUploadGone, err)
	}
	return err
}
