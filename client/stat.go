package client

import (
	"context"
	"net/http"
	"strings"
)

// Stat describes what is at path, a symbolic link itself. ErrNotFound where there is
// nothing.
func (c *Client) Stat(ctx context.Context, path string) (*Entry, error) {
	name, err := clean(path)
	if err != nil {
		return nil, &opError{"looking up " + path, err}
	}
	if name == "/" {
		return &Entry{Path: "/", Name: "", Kind: "directory"}, nil
	}
	escaped, err := filePath(path)
	if err != nil {
		return nil, &opError{"looking up " + path, err}
	}
	op := "looking up " + path
	resp, _, err := c.do(ctx, &call{op: op, method: http.MethodHead, path: escaped, safe: true})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusPermanentRedirect {
		drain(resp.Body)
		e := &Entry{Path: name, Name: name[strings.LastIndexByte(name, '/')+1:], Kind: "directory"}
		if err := e.readAttributes(resp.Header); err != nil {
			return nil, &opError{op, err}
		}
		return e, nil
	}
	defer drain(resp.Body)
	e, err := entryOf(path, resp)
	if err != nil {
		return nil, &opError{op, err}
	}
	return &e, nil
}
