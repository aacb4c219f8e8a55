package http1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// certificate is one that nobody verifies.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// testServer is a Server on a loopback listener.
type testServer struct {
	*Server
	t      testing.TB
	addr   string
	writes atomic.Int64 // system calls that wrote
}

func newServer(t testing.TB, h http.HandlerFunc) *testServer {
	t.Helper()
	s := &testServer{t: t, Server: &Server{Handler: h, HeaderTimeout: 5 * time.Second, IdleTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, MaxHeader: 8 << 10, Logger: slog.New(slog.DiscardHandler)}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.addr = ln.Addr().String()
	config := &tls.Config{Certificates: []tls.Certificate{certificate()}, DynamicRecordSizingDisabled: true}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				tc := tls.Server(NewWire(&counted{c, &s.writes}), config)
				if tc.Handshake() == nil {
					s.ServeConn(context.Background(), tc)
				}
				c.Close()
			})
		}
	})
	t.Cleanup(func() { ln.Close(); s.Close(); tasks.Wait() })
	return s
}

// counted counts the writes of a connection.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// peer is a client that speaks bytes.
type peer struct {
	*tls.Conn
	t  testing.TB
	in *bufio.Reader
}

func (s *testServer) dial() *peer {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	must(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	must(s.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return &peer{c, s.t, bufio.NewReader(c)}
}

func (p *peer) send(text string) {
	p.t.Helper()
	_, err := io.WriteString(p, text)
	must(p.t, err)
}

// answer reads one answer, whole.
func (p *peer) answer(method string) (*http.Response, string, error) {
	p.t.Helper()
	resp, err := http.ReadResponse(p.in, &http.Request{Method: method})
	must(p.t, err)
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// ask sends a request and reads its answer.
func (p *peer) ask(request string) (*http.Response, string) {
	p.t.Helper()
	p.send(request)
	method, _, _ := bytesCut(request)
	resp, body, err := p.answer(method)
	must(p.t, err)
	return resp, body
}

func bytesCut(request string) (method, rest string, ok bool) {
	for i := range request {
		if request[i] == ' ' {
			return request[:i], request[i:], true
		}
	}
	return request, "", false
}

// wantEnd checks that the server ended the connection.
func (p *peer) wantEnd() {
	p.t.Helper()
	_, err := p.in.ReadByte()
	if n, ok := err.(net.Error); err == nil || ok && n.Timeout() {
		p.t.Fatalf("the connection goes on: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
