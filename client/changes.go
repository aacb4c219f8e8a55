package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Change is one committed change of the file system.
type Change struct {
	Seq     uint64    `json:"seq"`               // 1, 2, 3 …; some may be missing: what the user may not see
	Op      string    `json:"op"`                // create, replace, patch, delete, delete-tree, move, forgotten
	Time    time.Time `json:"time"`              //
	User    string    `json:"user"`              // who did it
	Path    string    `json:"path"`              // with a leading slash, as of then
	From    string    `json:"from,omitempty"`    // where a moved entry came from
	File    string    `json:"file,omitempty"`    // the entry's stable id
	Kind    string    `json:"kind,omitempty"`    // "file", "directory" or "symlink"
	ETag    string    `json:"etag,omitempty"`    // of the version it made
	Version uint64    `json:"version,omitempty"` // the version it made
	Size    int64     `json:"size,omitempty"`    // of that version, bytes
}

// ChangesOptions says which changes.
type ChangesOptions struct {
	Since  uint64 // only those with a greater sequence number
	Follow bool   // wait for more instead of ending; a lost connection is taken up again
}

// Changes yields the change log in order. Keep the last Seq you have dealt
// with, durably, and begin there the next time. The sequence ends after the
// first error; ErrLogTruncated means that changes since then are no longer in
// the log, and the tree has to be listed again.
func (c *Client) Changes(ctx context.Context, o ChangesOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		since := o.Since
		for failures := 0; ; failures++ {
			before := since
			ended, err := c.changesOnce(ctx, o, &since, yield)
			if since > before {
				failures = 0
			}
			switch {
			case ended || err == nil && !o.Follow:
				return
			case err == nil: // the server ended the feed, as it does at its stop
			case !broken(err) || failures >= c.cfg.Retries:
				yield(Change{}, fmt.Errorf("reading changes: %w", c.explain(err)))
				return
			}
			if err := c.pause(ctx, min(failures, 10), 0); err != nil {
				yield(Change{}, fmt.Errorf("reading changes: %w", err))
				return
			}
		}
	}
}

// Sequence returns the sequence number of the newest change, 0 if there was
// none yet: where a follower begins that lists the tree after asking.
func (c *Client) Sequence(ctx context.Context) (uint64, error) {
	const op = "asking for the newest change"
	q := url.Values{"since": {strconv.FormatUint(math.MaxUint64, 10)}}
	resp, _, err := c.do(ctx, &call{op: op, method: http.MethodGet, path: "/changes", query: q, safe: true})
	if err != nil {
		return 0, err
	}
	drain(resp.Body)
	seq, err := strconv.ParseUint(resp.Header.Get("EFS-Sequence"), 10, 64)
	if err != nil {
		return 0, &opError{op, fmt.Errorf("the server does not tell it (%q): it may be older than this client", resp.Header.Get("EFS-Sequence"))}
	}
	return seq, nil
}

// changesOnce reads one answer; ended reports that the caller wants no more,
// or was told of an error.
func (c *Client) changesOnce(ctx context.Context, o ChangesOptions, since *uint64, yield func(Change, error) bool) (ended bool, err error) {
	q := url.Values{"since": {strconv.FormatUint(*since, 10)}}
	if o.Follow {
		q.Set("follow", "true")
	}
	resp, _, err := c.do(ctx, &call{op: "reading changes", method: http.MethodGet, path: "/changes", query: q, safe: true, patient: true})
	if err != nil {
		yield(Change{}, err)
		return true, nil
	}
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(bytes.TrimSpace(line)) == 0 { // a heartbeat
			continue
		}
		change, err := parseChange(line)
		if err != nil {
			yield(Change{}, fmt.Errorf("reading changes: %w", err))
			return true, nil
		}
		*since = change.Seq
		if !yield(change, nil) {
			return true, nil
		}
	}
}

func parseChange(line []byte) (Change, error) {
	var change Change
	if err := json.Unmarshal(line, &change); err != nil {
		return Change{}, fmt.Errorf("malformed line in the change feed: %w", err)
	}
	return change, nil
}
