package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ListOptions says what of a directory is to be listed.
type ListOptions struct {
	Recursive bool   // everything below, in name order, directories included
	After     string // begin after this name (a path relative to the directory, where Recursive)
	// Narrowed, if set, is called where the server shows only what the caller was
	// granted of the directory: what is not listed may be there. Before the first
	// entry; more than once where there are several answers.
	Narrowed func()

	PageSize int // entries a request, 1,000 by default; of 0 and Recursive, all come in one answer
}

const defaultPage = 1000

func (o *ListOptions) narrowed(resp *http.Response) {
	if o.Narrowed != nil && resp.Header.Get("EFS-Narrowed") != "" {
		o.Narrowed()
	}
}

// List yields the entries of the directory at path in name order. It asks for
// a page at a time, as the loop goes on. The sequence ends after the first
// error, which is yielded with a zero Entry. Entries that are made or removed
// meanwhile may or may not be seen; every other is seen exactly once.
func (c *Client) List(ctx context.Context, path string, o ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		escaped, err := dirPath(path)
		if err != nil {
			yield(Entry{}, fmt.Errorf("listing %s: %w", path, err))
			return
		}
		dir, _ := clean(path) // dirPath has checked it
		if o.Recursive && o.PageSize == 0 {
			c.listLines(ctx, path, escaped, dir, o, yield)
			return
		}
		for after := o.After; ; {
			page, err := c.listPage(ctx, path, escaped, o, after)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for i := range page.Entries {
				e, err := page.Entries[i].entry(dir)
				if !yield(e, err) || err != nil {
					return
				}
			}
			if page.Next == "" {
				return
			}
			if page.Next == after {
				yield(Entry{}, fmt.Errorf("listing %s: the server's pages do not go on after %q", path, after))
				return
			}
			after = page.Next
		}
	}
}

// listing is one page of the server's answer.
type listing struct {
	Entries []listed `json:"entries"`
	Next    string   `json:"next"`
}

type listed struct {
	Name     string            `json:"name"` // relative to the directory
	Kind     string            `json:"kind"`
	Size     int64             `json:"size"`
	Modified time.Time         `json:"modified"`
	Created  time.Time         `json:"created"`
	Mode     string            `json:"mode"`
	ETag     string            `json:"etag"`
	Type     string            `json:"type"`
	SHA256   string            `json:"sha256"`
	Target   string            `json:"target"`
	Meta     map[string]string `json:"meta"`
}

func (l *listed) entry(dir string) (Entry, error) {
	mode, err := parseMode(l.Mode)
	if err != nil {
		return Entry{}, fmt.Errorf("listing %s: %w", dir, err)
	}
	name := strings.TrimSuffix(l.Name, "/")
	return Entry{
		Path: strings.TrimSuffix(dir, "/") + "/" + name,
		Name: name[strings.LastIndexByte(name, '/')+1:],
		Kind: l.Kind, Size: l.Size, Modified: l.Modified, Created: l.Created, Mode: mode,
		ETag: strings.Trim(l.ETag, `"`), Type: l.Type, SHA256: l.SHA256, Target: l.Target, Meta: l.Meta,
	}, nil
}

func (c *Client) listPage(ctx context.Context, path, escaped string, o ListOptions, after string) (*listing, error) {
	q := url.Values{}
	if o.PageSize <= 0 {
		o.PageSize = defaultPage
	}
	q.Set("limit", strconv.Itoa(o.PageSize))
	if o.Recursive {
		q.Set("recursive", "true")
	}
	if after != "" {
		q.Set("after", after)
	}
	r := &call{op: "listing " + path, method: http.MethodGet, path: escaped, query: q, safe: true, header: http.Header{}}
	r.header.Set("Accept", "application/json")
	resp, _, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	o.narrowed(resp)
	var page listing
	if err := decodeLong(resp, &page); err != nil {
		return nil, &opError{r.op, err}
	}
	return &page, nil
}
