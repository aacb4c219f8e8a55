package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/efs-project/efs"
)

// ArchiveOptions says what is archived.
type ArchiveOptions struct {
	Path  string // of a directory, or of a file alone; "" or "/" for everything
	Since uint64 // only what changed after this sequence number; 0: everything
}

// Archive asks for a tar of a file system, or of a directory of it, as it was
// after one change, whose sequence number is returned. docs/archive.md tells
// what is in it. It is whole if Read comes to io.EOF; an answer that breaks off
// ends in another error. The caller closes it. ErrLogTruncated: what changed
// since cannot be told any more; a full archive can be made.
func (c *Client) Archive(ctx context.Context, o ArchiveOptions) (tar io.ReadCloser, sequence uint64, err error) {
	path := "/" + strings.Trim(o.Path, "/")
	op := "archiving " + path
	if !efs.ValidFSName(c.Bucket()) {
		return nil, 0, &opError{op, fmt.Errorf("%w: %s holds no files", ErrBadInput, c.Bucket())}
	}
	q := url.Values{"path": {path}}
	if o.Since > 0 {
		q.Set("since", strconv.FormatUint(o.Since, 10))
	}
	resp, _, err := c.do(ctx, &call{op: op, method: http.MethodGet, path: "/api/v1/buckets/" + c.Bucket() + "/archive", query: q, safe: true, patient: true})
	if err != nil {
		return nil, 0, err
	}
	sequence, err = strconv.ParseUint(resp.Header.Get("EFS-Sequence"), 10, 64)
	if err != nil || resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // it is not read
		return nil, 0, &opError{op, fmt.Errorf("unexpected answer %s", resp.Status)}
	}
	return &archiveBody{resp.Body, c, op}, sequence, nil
}

// archiveBody explains what broke an archive off.
type archiveBody struct {
	io.ReadCloser
	c  *Client
	op string
}

func (b *archiveBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &opError{b.op, fmt.Errorf("the answer broke off: %w", b.c.explain(err))}
	}
	return n, err
}
