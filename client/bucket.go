package client

import (
	"context"
	"net/http"
	"time"
)

// Created returns when the file system that the client works in was made: it
// tells one from another that had the same name before.
func (c *Client) Created(ctx context.Context) (time.Time, error) {
	r := &call{op: "looking up the file system " + c.Bucket(), method: http.MethodGet, path: "/api/v1/buckets/" + c.Bucket(), safe: true}
	resp, _, err := c.do(ctx, r)
	if err != nil {
		return time.Time{}, err
	}
	var about struct {
		Created time.Time `json:"created"`
	}
	if err := decodeLong(resp, &about); err != nil {
		return time.Time{}, &opError{r.op, err}
	}
	return about.Created, nil
}
