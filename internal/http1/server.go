// Package http1 serves HTTP/1.1 (RFC 9112) on TLS connections that are already
// established, for handlers of net/http.
//
// It exists because the work that net/http does around a small request costs
// more than sealing and storing it: here a request is read, answered and
// written by the goroutine of its connection, with the buffers, the request
// and the maps of its headers used again, and an answer that fits a buffer
// leaves as one TLS record in one system call.
//
// It takes less than net/http does, on purpose. What is ambiguous is refused,
// so that nobody on the way can see other requests than this server does: line
// ends other than CRLF, folded headers, white space before a colon, control
// characters, more than one Content-Length, Content-Length beside
// Transfer-Encoding, any transfer coding but chunked. Whatever it accepts,
// net/http accepts and understands in the same way; a fuzz test holds it to
// that.
//
// What differs from net/http for a handler: the request, its headers and the
// headers of the answer are used again when the handler has returned, so that
// none of them may be kept; the context of a request is that of its
// connection; a client that leaves is noticed by reading and writing, or by
// WatchPeer, and not otherwise; Content-Type is never guessed; Hijack, Push,
// trailers and informational answers other than 100 are not offered.
package http1

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Server answers requests on connections. All fields must be set before the
// first connection, and not changed after.
type Server struct {
	Handler http.Handler

	HeaderTimeout time.Duration // from the first byte of a request to the end of its head; of a connection, to its first request
	IdleTimeout   time.Duration // between requests; at least HeaderTimeout
	WriteTimeout  time.Duration // for writing an answer, unless its handler moves the deadline
	MaxHeader     int           // bytes of a request's head

	Logger *slog.Logger // of handlers that panic

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	empty  chan struct{} // closed when no connection is left after Shutdown began; nil before
}

// linger is how long a connection is kept, with its sending side shut, after
// an answer that was given before the request had been read, or that the client
// did not expect to be the last: it may be sending still, and a reset would take
// the answer along (RFC 9112, 9.6).
const linger = 500 * time.Millisecond

// ServeConn answers the requests on c, whose handshake is done, and closes it.
// It returns when the connection is over. ctx is the parent of the contexts of
// the requests.
func (s *Server) ServeConn(ctx context.Context, c *tls.Conn) {
	k := newConn(ctx, s, c, c.ConnectionState())
	if !s.add(k) {
		k.cut()
		return
	}
	defer s.remove(k)
	k.serve()
}

// Shutdown closes the connections on which no request is being answered, lets
// the others finish the one they are at, and returns when none is left; or
// ctx's error when that ends first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if s.empty == nil {
		s.empty = make(chan struct{})
		if len(s.conns) == 0 {
			close(s.empty)
		}
	}
	for k := range s.conns {
		k.stop()
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close cuts every connection, whatever happens on it, and takes no more.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for k := range s.conns {
		k.cut()
	}
	return nil
}

func (s *Server) add(k *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[k] = struct{}{}
	return true
}

func (s *Server) remove(k *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, k)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
	}
}
