package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// listLines yields all that is below a directory from one answer, a JSON
// document a line, which the server writes while it reads on. An answer that
// breaks off is taken up again behind the last name that came. Only an answer
// that ended as it should ends the listing without an error.
func (c *Client) listLines(ctx context.Context, path, escaped, dir string, o ListOptions, yield func(Entry, error) bool) {
	after := o.After
	for failures := 0; ; failures++ {
		last := after
		ended, err := c.listLinesOnce(ctx, path, escaped, dir, &o, &last, yield)
		if ended {
			return
		}
		if last != after {
			after, failures = last, 0
		}
		if !broken(err) || failures >= c.cfg.Retries {
			yield(Entry{}, &opError{"listing " + path, c.explain(err)})
			return
		}
		if err := c.pause(ctx, min(failures, 10), 0); err != nil {
			yield(Entry{}, &opError{"listing " + path, err})
			return
		}
	}
}

// listLinesOnce reads one answer; ended reports that it came to its end, or
// that the caller wants no more or was told of an error.
func (c *Client) listLinesOnce(ctx context.Context, path, escaped, dir string, o *ListOptions, after *string, yield func(Entry, error) bool) (ended bool, err error) {
	q := url.Values{"recursive": {"true"}}
	if *after != "" {
		q.Set("after", *after)
	}
	r := &call{op: "listing " + path, method: http.MethodGet, path: escaped, query: q, safe: true, header: http.Header{}}
	r.header.Set("Accept", "application/x-ndjson")
	resp, _, err := c.do(ctx, r)
	if err != nil {
		yield(Entry{}, err)
		return true, nil
	}
	defer resp.Body.Close()
	o.narrowed(resp)
	lines := bufio.NewReaderSize(resp.Body, 256<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return true, nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			yield(Entry{}, fmt.Errorf("listing %s: a line of the server's answer is too long", path))
			return true, nil
		}
		if err != nil {
			return false, err
		}
		var l listed
		e := Entry{}
		if err = json.Unmarshal(line, &l); err == nil {
			e, err = l.entry(dir)
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("listing %s: malformed line in the server's answer: %w", path, err))
			return true, nil
		}
		*after = l.Name
		if e.IsDir() {
			*after += "/"
		}
		if !yield(e, nil) {
			return true, nil
		}
	}
}
