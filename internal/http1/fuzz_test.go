package http1

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// script is a connection whose peer has said all it will say.
type script struct {
	mu    sync.Mutex
	in    []byte
	piece int // bytes of one read
	ended chan struct{}
	once  sync.Once
}

func newScript(in []byte, piece int) *script {
	return &script{in: in, piece: piece, ended: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { s.once.Do(func() { close(s.ended) }); return nil }
func (s *script) CloseWrite() error                { return nil }
func (s *script) NetConn() net.Conn                { return s }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// seen is what a handler saw of one request.
type seen struct {
	line, host string
	header     http.Header
	body       string
	failed     bool
}

func (s seen) String() string {
	return fmt.Sprintf("%s host=%q %q body=%q failed=%t", s.line, s.host, s.header, s.body, s.failed)
}

// recorder is a handler that keeps what it sees.
type recorder struct{ all []seen }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	h := maps.Clone(r.Header)
	// What net/http makes of these is no part of what was sent.
	h.Del("Trailer")
	if h.Get("Pragma") != "" {
		h.Del("Cache-Control")
	}
	for k, v := range h {
		h[k] = append([]string(nil), v...)
	}
	rec.all = append(rec.all, seen{
		line: fmt.Sprintf("%s %s %q %q %q %q %q %s %d %v", r.Method, r.RequestURI, r.URL, r.URL.Host, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.Proto, r.ContentLength, r.TransferEncoding),
		host: r.Host, header: h, body: string(body), failed: err != nil,
	})
	w.Header().Set("Content-Length", "0")
}

// one is a listener of a single connection.
type one struct{ next chan net.Conn }

func (l *one) Accept() (net.Conn, error) {
	if c, ok := <-l.next; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *one) Close() error   { return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// byNetHTTP returns what net/http makes of the bytes.
func byNetHTTP(in []byte) []seen {
	var rec recorder
	c := newScript(in, len(in)+1)
	l := &one{next: make(chan net.Conn, 1)}
	l.next <- c
	close(l.next)
	s := &http.Server{Handler: &rec, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	_ = s.Serve(l)
	<-c.ended
	return rec.all
}

// byUs returns what this package makes of them.
func byUs(in []byte, piece int) []seen {
	var rec recorder
	s := &Server{Handler: &rec, HeaderTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute, MaxHeader: 8 << 10, Logger: slog.New(slog.DiscardHandler)}
	newConn(context.Background(), s, newScript(in, piece), tls.ConnectionState{}).serve()
	return rec.all
}

// Whatever this package accepts, net/http accepts too and understands in the
// same way, one request after the other. It also does not depend on how the
// bytes arrive.
func FuzzUnderstandsAsNetHTTPDoes(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /a%2fb?c HTTP/1.1\r\nHost: h:1\r\nX: 1\r\nx: 2\r\n\r\nHEAD //x HTTP/1.1\r\nHost:\r\n\r\n",
		"PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET http://u@h/p?q#f HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
		"GET / HTTP/1.1\nHost: h\n\n",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\nTE: trailers\r\nTrailer: A\r\nPragma: no-cache\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		ours := byUs(in, int(piece)+1)
		if whole := byUs(in, len(in)+1); fmt.Sprint(whole) != fmt.Sprint(ours) {
			t.Fatalf("%q\nin pieces %v\nat once %v", in, ours, whole)
		}
		theirs := byNetHTTP(in)
		for i, s := range ours {
			switch {
			case s.failed:
				return // it ended here
			case i >= len(theirs):
				t.Fatalf("%q\nonly here: %v", in, s)
			case s.String() != theirs[i].String():
				t.Fatalf("%q\nhere     %v\nnet/http %v", in, s, theirs[i])
			}
		}
	})
}
