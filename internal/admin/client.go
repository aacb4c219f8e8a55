package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// ErrNoServer says that no server listens on the root.
var ErrNoServer = errors.New("no server is running on this root")

// Client calls the server on one root. Its methods are the commands of efsctl.
// The callbacks may be nil.
type Client struct {
	root string
	http *http.Client

	Line     func(string)   // something that happened, as it happens
	Progress func(Progress) // of long operations

	secret func(string) // what is shown once
}

// NewClient returns a client for the server on root. It connects when called.
func NewClient(root string) *Client {
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, SocketPath(root)) },
		DisableKeepAlives: true,
	}
	return &Client{root: root, http: &http.Client{Transport: transport}}
}

// call posts a request and follows its events until the result.
func call[T any](ctx context.Context, c *Client, op string, request any) (T, error) {
	var result T
	body, err := json.Marshal(request)
	if err != nil {
		return result, fmt.Errorf("%s: %w", op, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://efs/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return result, fmt.Errorf("%s: %w", op, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return result, c.connectError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return result, fmt.Errorf("%s: the server answered %s; are efsctl and efs-server of the same version?", op, resp.Status)
	}
	raw, err := c.follow(ctx, json.NewDecoder(resp.Body))
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return result, fmt.Errorf("%s: reading the answer: %w", op, err)
	}
	return result, nil
}

// follow hands events to the callbacks and returns the result.
func (c *Client) follow(ctx context.Context, events *json.Decoder) (json.RawMessage, error) {
	for {
		var e Event
		if err := events.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, errors.New("the server closed the connection before it was done; see its log, and look at `efsctl status` for what holds now")
			}
			return nil, fmt.Errorf("reading the server's answer: %w", err)
		}
		switch {
		case e.Error != nil:
			return nil, e.Error
		case e.Result != nil:
			return e.Result, nil
		case e.Secret != nil && c.secret != nil:
			b, err := fetch(ctx, c.root, *e.Secret)
			if err != nil {
				return nil, fmt.Errorf("fetching what is shown once: %w", err)
			}
			c.secret(string(b))
		case e.Line != nil && c.Line != nil:
			c.Line(*e.Line)
		case e.Progress != nil && c.Progress != nil:
			c.Progress(*e.Progress)
		}
	}
}

// connectError says what to do about a server that cannot be reached.
func (c *Client) connectError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers at %s. Start it with `efs-server --root %s`, or name another root with --root or EFS_ROOT",
			ErrNoServer, SocketPath(c.root), c.root)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use %s: run efsctl as the user the server runs as, or as root", SocketPath(c.root))
	}
	return fmt.Errorf("calling the server at %s: %w", SocketPath(c.root), err)
}
