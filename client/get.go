package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
)

// Body is a file being read. Read returns io.EOF only after every byte was
// delivered and, where the whole file was asked for, its SHA-256 proved to be
// the one that the server keeps (else ErrDigest). A connection that is lost
// on the way is taken up again where it broke off, on the same version only:
// if the file was replaced meanwhile, Read returns ErrConflict.
type Body struct {
	Entry Entry // of the version that is being read

	c       *Client
	ctx     context.Context
	call    call
	body    io.ReadCloser
	offset  int64 // of the next byte, in the file
	end     int64 // offset after the last byte wanted
	hash    hash.Hash
	retries int
	err     error
}

// Get reads the file at path. The caller closes the Body. Cancelling ctx ends
// the reading.
func (c *Client) Get(ctx context.Context, path string) (*Body, error) {
	return c.get(ctx, path, 0, -1, "")
}

// GetRange reads n bytes from offset on, fewer where the file ends before; a
// negative n reads to the end. An offset at or behind the end gives an empty
// Body. The SHA-256 of a part cannot be checked: the server authenticates
// each segment it delivers, TLS carries them.
func (c *Client) GetRange(ctx context.Context, path string, offset, n int64) (*Body, error) {
	if offset < 0 {
		return nil, fmt.Errorf("reading %s: %w: negative offset", path, ErrBadInput)
	}
	return c.get(ctx, path, offset, n, "")
}

// ReadFile reads a whole file into memory. Nothing is returned unless its
// SHA-256 agrees.
func (c *Client) ReadFile(ctx context.Context, path string) ([]byte, error) {
	body, err := c.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var b bytes.Buffer
	if size := body.Entry.Size; size > 0 && size < 64<<20 {
		b.Grow(int(size) + bytes.MinRead)
	}
	if _, err := io.Copy(&b, body); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// get begins a read; etag pins it to a version where it is not empty.
func (c *Client) get(ctx context.Context, path string, offset, n int64, etag string) (*Body, error) {
	escaped, err := filePath(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	b := &Body{c: c, ctx: ctx, offset: offset, call: call{op: "reading " + path, method: http.MethodGet, path: escaped, safe: true, header: http.Header{}}}
	if etag != "" {
		b.call.header.Set("If-Match", quoteETag(etag))
	}
	whole := offset == 0 && n < 0
	if n == 0 { // HTTP has no empty range
		return b.empty(path)
	}
	if !whole {
		b.call.header.Set("Range", rangeOf(offset, n))
	}
	resp, _, err := c.do(ctx, &b.call)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusRequestedRangeNotSatisfiable {
		return b.empty(path)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusPermanentRedirect || isListing(resp) {
		drain(resp.Body)
		return nil, &opError{b.call.op, ErrIsDir}
	}
	if b.Entry, err = entryOf(path, resp); err == nil {
		err = b.expect(resp, whole)
	}
	if err != nil {
		drain(resp.Body)
		return nil, &opError{b.call.op, err}
	}
	b.body = resp.Body
	return b, nil
}

// expect works out which bytes an answer carries.
func (b *Body) expect(resp *http.Response, whole bool) error {
	if resp.ContentLength < 0 {
		return errors.New("the server's answer does not tell its length")
	}
	b.end = b.offset + resp.ContentLength
	if whole {
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answered a whole read with %s", resp.Status)
		}
		b.hash = sha256.New()
		return nil
	}
	first, last, size, err := parseContentRange(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || err != nil || first != b.offset || last+1 != b.end {
		return fmt.Errorf("the server answered another range than was asked for: %s %q", resp.Status, resp.Header.Get("Content-Range"))
	}
	b.Entry.Size = size
	return nil
}

// empty is the Body of a range without bytes.
func (b *Body) empty(path string) (*Body, error) {
	e, err := b.c.Stat(b.ctx, path)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return nil, &opError{b.call.op, ErrIsDir}
	}
	if e.IsSymlink() {
		return nil, &opError{b.call.op, ErrSymlink}
	}
	b.Entry, b.end, b.body = *e, b.offset, http.NoBody
	return b, nil
}

// Read delivers the next bytes. Bytes are delivered as they come; whether
// they were all, and the right ones, is known at io.EOF.
func (b *Body) Read(p []byte) (int, error) {
	for b.err == nil {
		if b.offset == b.end {
			b.err = b.finish()
			break
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.end-b.offset)])
		b.offset += int64(n)
		if b.hash != nil {
			b.hash.Write(p[:n])
		}
		if n > 0 || len(p) == 0 {
			b.retries = 0
			if err != nil && b.offset < b.end {
				b.err = b.resume(err)
			}
			return n, nil
		}
		if err != nil {
			b.err = b.resume(err)
		}
	}
	return 0, b.err
}

// finish compares what was read with the digest that the server keeps.
func (b *Body) finish() error {
	if b.hash == nil || b.Entry.SHA256 == "" {
		return io.EOF
	}
	if sum := hex.EncodeToString(b.hash.Sum(nil)); sum != b.Entry.SHA256 {
		return &opError{b.call.op, fmt.Errorf("%w: received sha256 %s, the server keeps %s: read it again", ErrDigest, sum, b.Entry.SHA256)}
	}
	return io.EOF
}

// resume asks for the rest of a read that broke off, nil if it goes on. A
// server that aborts because what it has stored is damaged says so in its
// answer to this.
func (b *Body) resume(cause error) error {
	_ = b.body.Close() // the connection is lost
	b.body = http.NoBody
	if b.ctx.Err() != nil {
		return &opError{b.call.op, b.ctx.Err()}
	}
	b.retries++
	if b.retries > max(b.c.cfg.Retries, 0) || b.Entry.ETag == "" {
		return &opError{b.call.op, b.c.explain(cause)}
	}
	if err := b.c.pause(b.ctx, b.retries-1, 0); err != nil {
		return &opError{b.call.op, err}
	}
	again := b.call
	again.header = http.Header{}
	again.header.Set("If-Match", quoteETag(b.Entry.ETag))
	again.header.Set("Range", rangeOf(b.offset, b.end-b.offset))
	resp, _, err := b.c.do(b.ctx, &again)
	if errors.Is(err, ErrPrecondition) || errors.Is(err, ErrNotFound) {
		return &opError{b.call.op, errReplaced}
	}
	if err != nil {
		return err
	}
	first, last, _, err := parseContentRange(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || err != nil || first != b.offset || last+1 != b.end {
		drain(resp.Body)
		return &opError{b.call.op, fmt.Errorf("the connection was lost, and the server does not resume: %w", cause)}
	}
	b.body = resp.Body
	return nil
}

// errReplaced is an ErrConflict.
var errReplaced = fmt.Errorf("%w: the file was replaced or removed while it was read: read it again", ErrConflict)

// Close ends the reading.
func (b *Body) Close() error {
	if b.err == nil {
		b.err = errors.New("read after Close")
	}
	return b.body.Close()
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// isListing reports whether an answer is a directory's.
func isListing(resp *http.Response) bool {
	return strings.HasSuffix(resp.Request.URL.Path, "/")
}

func rangeOf(offset, n int64) string {
	if n < 0 {
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)
}

// parseContentRange reads "bytes FIRST-LAST/SIZE".
func parseContentRange(s string) (first, last, size int64, err error) {
	_, err = fmt.Sscanf(s, "bytes %d-%d/%d", &first, &last, &size)
	return first, last, size, err
}

// entryOf reads what the headers of an answer tell about a file.
func entryOf(path string, resp *http.Response) (Entry, error) {
	path, err := clean(path)
	if err != nil {
		return Entry{}, err
	}
	h := resp.Header
	e := Entry{
		Path: path, Name: path[strings.LastIndexByte(path, '/')+1:], Kind: "file",
		Size: max(resp.ContentLength, 0), Type: h.Get("Content-Type"),
	}
	if h.Get(headerKind) == "symlink" {
		e.Kind, e.Type = "symlink", ""
	}
	if err := e.readAttributes(h); err != nil {
		return Entry{}, err
	}
	if e.SHA256, err = parseDigest(h.Get("Repr-Digest")); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// parseDigest returns the sha-256 of a Repr-Digest header (RFC 9530) in hex,
// "" where there is none.
func parseDigest(s string) (string, error) {
	for item := range strings.SplitSeq(s, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(item), "sha-256=:")
		if !ok {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(value, ":"))
		if err != nil || len(sum) != sha256.Size {
			return "", fmt.Errorf("the server's Repr-Digest %q is malformed", s)
		}
		return hex.EncodeToString(sum), nil
	}
	return "", nil
}
