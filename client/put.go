package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// PutOptions says how a file is to be stored. The zero value stores under any
// circumstances.
type PutOptions struct {
	Type string            // content type; by default told from the name's ending
	Meta map[string]string // user metadata; keys are kept in lower case

	Mode     uint32    // POSIX permission bits to be kept, up to 07777; 0: none
	Modified time.Time // the time that the file had where it comes from; zero: that of storing

	IfMatch     string // store only over the version with this ETag
	IfNoneMatch bool   // store only where nothing is yet

	Size   int64  // of the body in bytes where the caller knows it and it is no io.Seeker; 0: not known
	SHA256 string // hex, of the body where it is known beforehand: the server checks it before it confirms

	// Progress is called with the number of bytes that were sent since the
	// last call; negative when the body is sent anew. Calls do not overlap.
	Progress func(delta int64)
}

// Put stores body as the file at path; directories above it are made. It
// returns when the server has confirmed that the file is on stable storage
// and that what it stored has the SHA-256 of what was sent (else ErrDigest).
//
// After an error other than an *Error the file may or may not have been
// stored: put it again. ErrPrecondition: IfMatch or IfNoneMatch did not hold,
// and nothing was changed.
func (c *Client) Put(ctx context.Context, path string, body io.Reader, o PutOptions) (*Stored, error) {
	escaped, err := filePath(path)
	if err != nil {
		return nil, fmt.Errorf("storing %s: %w", path, err)
	}
	if o.Size <= 0 {
		o.Size = -1
	}
	src, err := newSource(body, o.Size, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("storing %s: reading what is to be stored: %w", path, err)
	}
	header, err := o.header(path)
	if err != nil {
		return nil, fmt.Errorf("storing %s: %w", path, err)
	}
	resp, _, err := c.do(ctx, &call{
		op: "storing " + path, method: http.MethodPut, path: escaped, header: header, body: src,
		safe: o.IfMatch == "" && !o.IfNoneMatch,
	})
	if err != nil {
		return nil, err
	}
	stored, err := confirmed("storing "+path, resp)
	if err != nil {
		return nil, err
	}
	size, sum := src.sum()
	if stored.Size != size || !strings.EqualFold(stored.SHA256, hex.EncodeToString(sum)) {
		return nil, fmt.Errorf("storing %s: %w: sent %d bytes with sha256 %x, the server stored %d bytes with %s: put it again",
			path, ErrDigest, size, sum, stored.Size, stored.SHA256)
	}
	return stored, nil
}

func (o *PutOptions) header(name string) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", orElse(o.Type, TypeByName(name)))
	if err := setAttributes(h, o.Mode, o.Modified, o.Meta); err != nil {
		return nil, err
	}
	if o.IfMatch != "" {
		h.Set("If-Match", quoteETag(o.IfMatch))
	}
	if o.IfNoneMatch {
		h.Set("If-None-Match", "*")
	}
	if o.SHA256 != "" {
		sum, err := hex.DecodeString(o.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%w: %q is no SHA-256 in hex", ErrBadInput, o.SHA256)
		}
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	return h, nil
}

// headerMeta begins the headers that carry user metadata.
const headerMeta = "EFS-Meta-"

// setMeta adds one piece of metadata, refusing what a header cannot carry.
func setMeta(h http.Header, key, value string) error {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return fmt.Errorf("%w: the metadata key %q may have letters, digits, '-', '_' and '.' only", ErrBadInput, key)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("%w: the metadata value of %q holds control characters", ErrBadInput, key)
	}
	h.Set(headerMeta+key, value)
	return nil
}

// TypeByName returns the content type that goes with the ending of a name,
// application/octet-stream where none does.
func TypeByName(name string) string {
	return orElse(mime.TypeByExtension(path.Ext(name)), "application/octet-stream")
}

// quoteETag writes an ETag as a header carries it.
func quoteETag(etag string) string { return `"` + etag + `"` }
