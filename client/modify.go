package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// RemoveOptions bounds a removal.
type RemoveOptions struct {
	IfMatch string // remove only the version with this ETag
}

// Remove removes a file or an empty directory, durably.
func (c *Client) Remove(ctx context.Context, path string, o RemoveOptions) error {
	escaped, err := filePath(path)
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	r := &call{op: "removing " + path, method: http.MethodDelete, path: escaped, safe: o.IfMatch == "", header: http.Header{}}
	if o.IfMatch != "" {
		r.header.Set("If-Match", quoteETag(o.IfMatch))
	}
	return c.remove(ctx, r)
}

// RemoveAll removes the directory at path with all below it, or a file. The
// tree is out of sight at once and as a whole; the server frees it afterwards.
func (c *Client) RemoveAll(ctx context.Context, path string) error {
	escaped, err := filePath(path)
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return c.remove(ctx, &call{
		op: "removing " + path, method: http.MethodDelete, path: escaped,
		query: url.Values{"recursive": {"true"}}, safe: true,
	})
}

// remove makes a DELETE; what a repetition does not find any more, an earlier
// attempt removed.
func (c *Client) remove(ctx context.Context, r *call) error {
	resp, repeated, err := c.do(ctx, r)
	if repeated && errors.Is(err, ErrNotFound) {
		return nil
	}
	return finish(r.op, resp, err)
}

// MoveOptions says what may be overwritten.
type MoveOptions struct {
	NoOverwrite bool   // ErrExists or ErrPrecondition where something is at the destination
	IfMatch     string // only if the source has this ETag
	DestIfMatch string // only if the destination has this ETag; ErrPrecondition, also where nothing is there
}

// Move gives the file or directory at from the path to, in one step: others
// see it at one place, never at both or neither. A file at to is replaced
// unless o says otherwise; directories above it are made.
func (c *Client) Move(ctx context.Context, from, to string, o MoveOptions) error {
	return c.transfer(ctx, "moving", "MOVE", from, to, o, false)
}

// Copy makes a copy of the file or directory at from, on the server, sealed
// with keys of its own.
func (c *Client) Copy(ctx context.Context, from, to string, o MoveOptions) error {
	return c.transfer(ctx, "copying", "COPY", from, to, o, !o.NoOverwrite && o.IfMatch == "" && o.DestIfMatch == "")
}

func (c *Client) transfer(ctx context.Context, verb, method, from, to string, o MoveOptions, safe bool) error {
	op := verb + " " + from + " to " + to
	source, err := filePath(from)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	destination, err := filePath(to)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	h := http.Header{}
	h.Set("Destination", c.place(destination))
	h.Set("Overwrite", "T")
	if o.NoOverwrite {
		h.Set("Overwrite", "F")
	}
	if o.IfMatch != "" {
		h.Set("If-Match", quoteETag(o.IfMatch))
	}
	if o.DestIfMatch != "" {
		h.Set("EFS-Destination-If-Match", quoteETag(o.DestIfMatch))
	}
	r := &call{op: op, method: method, path: source, header: h, safe: safe, patient: true}
	resp, _, err := c.do(ctx, r)
	return finish(op, resp, err)
}

// MkdirOptions says what is to be kept with a directory.
type MkdirOptions struct {
	Mode     uint32            // POSIX permission bits, up to 07777; 0: none
	Modified time.Time         // zero: that of making it
	Meta     map[string]string // user metadata; keys are kept in lower case
}

// Mkdir makes the directory at path. ErrExists where something is there
// already; directories above it are made, without what o says.
func (c *Client) Mkdir(ctx context.Context, path string, o MkdirOptions) error {
	escaped, err := filePath(path)
	if err != nil {
		return fmt.Errorf("making directory %s: %w", path, err)
	}
	r := &call{op: "making directory " + path, method: "MKCOL", path: escaped + "/", header: http.Header{}}
	if err := setAttributes(r.header, o.Mode, o.Modified, o.Meta); err != nil {
		return &opError{r.op, err}
	}
	resp, _, err := c.do(ctx, r)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusMethodNotAllowed {
		return &opError{r.op, ErrExists} // as WebDAV has it (RFC 4918, 9.3.1)
	}
	return finish(r.op, resp, err)
}

// PatchOptions names what is to change; what is nil stays.
type PatchOptions struct {
	Type     *string
	Meta     map[string]*string // merged: a nil value removes the key
	Modified *time.Time
	Mode     *uint32 // POSIX permission bits, up to 07777; 0 takes them away
	IfMatch  string  // only if the entry has this ETag
}

// Patch changes the type, the metadata, the modification time or the mode of a
// file, a directory or a symbolic link, not its contents.
func (c *Client) Patch(ctx context.Context, path string, o PatchOptions) error {
	escaped, err := filePath(path)
	if err != nil {
		return fmt.Errorf("changing %s: %w", path, err)
	}
	patch := map[string]any{}
	if o.Type != nil {
		patch["type"] = *o.Type
	}
	if o.Meta != nil {
		patch["meta"] = o.Meta
	}
	if o.Modified != nil {
		patch["modified"] = o.Modified.UTC().Format(time.RFC3339Nano)
	}
	if o.Mode != nil {
		patch["mode"] = FormatMode(*o.Mode)
		if *o.Mode == 0 {
			patch["mode"] = nil
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("changing %s: %w", path, err)
	}
	src, err := newSource(bytes.NewReader(body), -1, nil)
	if err != nil {
		return fmt.Errorf("changing %s: %w", path, err)
	}
	r := &call{op: "changing " + path, method: http.MethodPatch, path: escaped, body: src, safe: o.IfMatch == "", header: http.Header{}}
	r.header.Set("Content-Type", "application/merge-patch+json")
	if o.IfMatch != "" {
		r.header.Set("If-Match", quoteETag(o.IfMatch))
	}
	resp, _, err := c.do(ctx, r)
	return finish(r.op, resp, err)
}

// finish ends a request whose answer's body says nothing that is needed.
func finish(op string, resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	drain(resp.Body)
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: unexpected answer %s", op, resp.Status)
	}
	return nil
}
