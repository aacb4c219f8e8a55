package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/efs-project/efs/internal/http1"
)

// tlsServer takes the connections of an HTTPS listener, and gives those that
// chose HTTP/2 to net/http, the others to http1.
type tlsServer struct {
	s      *Server
	ln     net.Listener
	config *tls.Config
	http1  *http1.Server
	http2  *http.Server
	chosen handoff        // connections for http2
	conns  sync.WaitGroup // Serve, and the connections that http2 does not have
	done   context.Context
	stop   context.CancelFunc
}

func (s *Server) newTLSServer(l Listener, ln net.Listener) *tlsServer {
	t := &tlsServer{s: s, ln: ln, config: s.tlsConfig(&l), http2: s.httpServer(l)}
	t.http1 = &http1.Server{
		Handler:       t.http2.Handler,
		HeaderTimeout: s.limits.HeaderTime,
		IdleTimeout:   s.limits.IdleTimeout,
		WriteTimeout:  s.limits.SlowClient,
		MaxHeader:     s.limits.Header,
		Logger:        s.log,
	}
	t.done, t.stop = context.WithCancel(s.base)
	t.chosen = handoff{conns: make(chan net.Conn), done: t.done, addr: ln.Addr()}
	t.conns.Add(1)
	return t
}

// Serve takes connections until the listener fails or is closed. It must be
// called once.
func (t *tlsServer) Serve() error {
	defer t.conns.Done()
	ended := make(chan error, 1)
	go func() { ended <- t.http2.Serve(&t.chosen) }()
	err := t.accept()
	t.stop()
	if err2 := <-ended; !errors.Is(err2, http.ErrServerClosed) && !errors.Is(err2, net.ErrClosed) {
		err = errors.Join(err, err2)
	}
	return err
}

// accept waits a little, and ever longer, where the machine is short of
// something, such as file descriptors.
func (t *tlsServer) accept() error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; {
		c, err := t.ln.Accept()
		switch {
		case err == nil:
			pause = shortest
			t.conns.Go(func() { t.serve(c) })
			continue
		case t.s.stopping.Load():
			return http.ErrServerClosed
		case passes(err):
			t.s.log.Debug("accepting a connection", "error", err, "again_in", pause)
		default:
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-t.done.Done():
			return http.ErrServerClosed
		}
	}
}

// passes reports whether an error of Accept is a shortage that ends.
func passes(err error) bool {
	for _, shortage := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, shortage) {
			return true
		}
	}
	return false
}

// serve shakes hands and answers the requests of one connection. A panic in
// that ends this connection and no other.
func (t *tlsServer) serve(raw net.Conn) {
	defer func() {
		if p := recover(); p != nil {
			t.s.log.Error("connection panicked", "panic", p, "stack", string(debug.Stack()))
			_ = raw.Close() // whatever state it is in
		}
	}()
	c := tls.Server(http1.NewWire(raw), t.config)
	if err := t.shakeHands(c); err != nil {
		t.s.log.LogAttrs(t.s.base, slog.LevelDebug, "TLS handshake failed", slog.String("from", raw.RemoteAddr().String()), slog.Any("error", err))
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) && notTLS.Conn != nil && isHTTP(notTLS.RecordHeader) {
			_, _ = io.WriteString(raw, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		}
		_ = raw.Close() // nothing was begun
		return
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		t.chosen.give(c)
		return
	}
	ctx, cancel := context.WithCancel(withConn(t.s.base, c))
	defer cancel()
	if k := connOf(ctx); k != nil {
		k.cancel.Store(&cancel)
	}
	t.http1.ServeConn(ctx, c)
}

func (t *tlsServer) shakeHands(c *tls.Conn) error {
	if err := c.SetDeadline(time.Now().Add(t.s.limits.HeaderTime)); err != nil {
		return err
	}
	if err := c.HandshakeContext(t.done); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// isHTTP reports whether what should be the head of a TLS record begins an
// HTTP request.
func isHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// Shutdown lets the requests under way finish.
func (t *tlsServer) Shutdown(ctx context.Context) error {
	_ = t.ln.Close() // Serve ends by it, whatever it says
	t.stop()
	var other error
	var wait sync.WaitGroup
	wait.Go(func() { other = t.http2.Shutdown(ctx) })
	err := t.http1.Shutdown(ctx)
	wait.Wait()
	return errors.Join(err, other)
}

// Close cuts what is left, and returns when the goroutines have ended.
func (t *tlsServer) Close() error {
	_ = t.ln.Close()
	t.stop()
	err := errors.Join(t.http1.Close(), t.http2.Close())
	t.conns.Wait()
	return err
}

// handoff is a listener of connections that were accepted elsewhere.
type handoff struct {
	conns chan net.Conn
	done  context.Context
	addr  net.Addr
}

// give passes a connection to whoever accepts on h, or closes it.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done.Done():
		_ = c.Close() // the server stops
	}
}

// Accept waits for the next connection.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: what done ends, ends it.
func (h *handoff) Close() error { return nil }

// Addr is that of the listener in front.
func (h *handoff) Addr() net.Addr { return h.addr }
