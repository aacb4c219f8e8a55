package main

import (
	"context"
	"crypto/tls"
)

// A Target is a server under measurement. All are driven by the same bare
// HTTP/1.1 requests over TLS (see conn), so that what differs is the server.
type Target interface {
	Name() string
	// Start runs the server with its data in dir and returns when it serves.
	Start(ctx context.Context, dir string) error
	// Addr is where it serves, host:port; TLS is whom to trust and which
	// certificate to show.
	Addr() string
	TLS() *tls.Config
	// AppendHead appends the head of an authenticated request for a stored
	// object, without the empty line that ends it. Safe for concurrent use.
	AppendHead(head []byte, method, key string) []byte
	// Stored is the status that confirms a store. Proof is a header, in lower
	// case, without which an answer to method proves nothing; "" for none.
	Stored() int
	Proof(method string) string
	PID() int
	Stop()
}
