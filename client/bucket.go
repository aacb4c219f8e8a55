package client

import (
	"context"
	"net/http"
)

// FileSystemID returns the id of the file system that the client works in: it
// tells one from another that had the same name before. "" where the server does
// not tell it.
func (c *Client) FileSystemID(ctx context.Context) (string, error) {
	r := &call{op: "looking up the file system " + c.Bucket(), method: http.MethodGet, path: "/api/v1/buckets/" + c.Bucket(), safe: true}
	resp, _, err := c.do(ctx, r)
	if err != nil {
		return "", err
	}
	var about struct {
		ID string `json:"id"`
	}
	if err := decodeLong(resp, &about); err != nil {
		return "", &opError{r.op, err}
	}
	return about.ID, nil
}
