package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The headers that carry the attributes of an entry.
const (
	headerMode     = "EFS-Mode"
	headerModified = "EFS-Modified"
	headerKind     = "EFS-Kind"
	headerTarget   = "EFS-Target"
)

// setAttributes adds what is to be kept with an entry.
func setAttributes(h http.Header, mode uint32, modified time.Time, meta map[string]string) error {
	if mode > 0o7777 {
		return fmt.Errorf("%w: a mode of %o, at most 7777 is allowed", ErrBadInput, mode)
	}
	if mode != 0 {
		h.Set(headerMode, FormatMode(mode))
	}
	if !modified.IsZero() {
		h.Set(headerModified, modified.UTC().Format(time.RFC3339Nano))
	}
	for k, v := range meta {
		if err := setMeta(h, k, v); err != nil {
			return err
		}
	}
	return nil
}

// readAttributes takes into e what the headers of an answer tell.
func (e *Entry) readAttributes(h http.Header) (err error) {
	e.ETag = strings.Trim(h.Get("ETag"), `"`)
	if t, err := time.Parse(time.RFC3339Nano, h.Get(headerModified)); err == nil {
		e.Modified = t
	} else if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		e.Modified = t
	}
	e.Version, _ = strconv.ParseUint(h.Get("EFS-Version"), 10, 64) // 0: it is not told
	if e.Mode, err = parseMode(h.Get(headerMode)); err != nil {
		return fmt.Errorf("the server's %s: %w", headerMode, err)
	}
	if e.Target, err = url.PathUnescape(h.Get(headerTarget)); err != nil {
		return fmt.Errorf("the server's %s: %w", headerTarget, err)
	}
	for k, v := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(k), strings.ToLower(headerMeta)); ok && len(v) > 0 {
			if e.Meta == nil {
				e.Meta = map[string]string{}
			}
			e.Meta[name] = v[0]
		}
	}
	return nil
}

// Symlink stores a symbolic link at path, in place of a file or link that was
// there; directories above it are made. The target is kept as it is given, 1 to
// 4,096 bytes of UTF-8, and the server never follows it. Of o, Type, Size, SHA256
// and Progress do not apply.
func (c *Client) Symlink(ctx context.Context, path, target string, o PutOptions) (*Stored, error) {
	op := "storing the symbolic link " + path
	escaped, err := filePath(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if target == "" {
		return nil, fmt.Errorf("%s: %w: it has no target", op, ErrBadInput)
	}
	o.SHA256 = ""
	header, err := o.header(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	header.Del("Content-Type")
	header.Set(headerTarget, url.PathEscape(target))
	resp, _, err := c.do(ctx, &call{
		op: op, method: http.MethodPut, path: escaped, header: header,
		safe: o.IfMatch == "" && !o.IfNoneMatch,
	})
	if err != nil {
		return nil, err
	}
	return confirmed(op, resp)
}

// confirmed reads the confirmation of a store.
func confirmed(op string, resp *http.Response) (*Stored, error) {
	stored := &Stored{Created: resp.StatusCode == http.StatusCreated}
	if err := decode(resp, stored); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if !strings.HasPrefix(stored.Path, "/") {
		stored.Path = "/" + stored.Path
	}
	return stored, nil
}
