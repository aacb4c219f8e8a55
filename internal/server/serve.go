package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// Serve takes requests on listeners until ctx ends; then it stops as Shutdown
// does, within Limits.Shutdown, and returns. An error of any listener stops
// the others too. Serve closes the listeners.
func (s *Server) Serve(ctx context.Context, listeners ...Listener) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		serve := s.listen(l)
		s.tasks.Go(func() {
			err := serve()
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving on %s: %w", l.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(s.tuned.shutdown.Load()))
	defer cancel()
	return errors.Join(err, s.Shutdown(end))
}

// Shutdown stops taking requests, finishes those it has accepted, ends the
// change feeds, and closes every connection. When ctx ends first it cuts what
// is left, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	s.mu.Lock()
	servers := s.servers
	s.mu.Unlock()
	finished := make(chan struct{})
	s.tasks.Go(func() {
		defer close(finished)
		for s.work.Load() > 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		s.endFeeds()
	})
	var stop sync.WaitGroup
	errs := make([]error, len(servers))
	for i, h := range servers {
		stop.Go(func() { errs[i] = h.Shutdown(ctx) })
	}
	stop.Wait()
	select {
	case <-finished:
	case <-ctx.Done():
	}
	for _, h := range servers {
		_ = h.Close() // what Shutdown left; its connections are being cut on purpose
	}
	s.endBase()
	s.tasks.Wait()
	return errors.Join(errs...)
}

// stopper is what takes requests from one listener.
type stopper interface {
	Shutdown(ctx context.Context) error
	Close() error
}

// listen makes the server of a listener, and returns what runs it.
func (s *Server) listen(l Listener) (serve func() error) {
	var h stopper
	ln := s.wrap(l)
	if l.Ops || l.Plain {
		plain := s.httpServer(l)
		h, serve = plain, func() error { return plain.Serve(ln) }
	} else {
		t := s.newTLSServer(l, ln)
		h, serve = t, t.Serve
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, h)
	return serve
}

// httpServer makes the net/http server of a listener. Read and write deadlines
// move with the bodies (pace); what is set here covers the rest.
func (s *Server) httpServer(l Listener) *http.Server {
	return &http.Server{
		Handler:           s.Handler(l),
		ReadHeaderTimeout: s.limits.HeaderTime,
		WriteTimeout:      s.limits.SlowClient,
		IdleTimeout:       s.limits.IdleTimeout,
		MaxHeaderBytes:    s.limits.Header,
		ConnContext:       withConn,
		BaseContext:       func(net.Listener) context.Context { return s.base },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, MaxReceiveBufferPerConnection: 4 << 20, MaxReceiveBufferPerStream: 1 << 20},

		DisableGeneralOptionsHandler: true, // handle answers OPTIONS *, with a line in the log
	}
}

func (s *Server) tlsConfig(l *Listener) *tls.Config {
	certificate := s.certificateFor
	if own := l.Certificate; own != nil {
		certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own() }
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     l.AskCert.tls(),
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: certificate,

		// Full records from the start: small ones let a page be shown a moment
		// earlier over a slow line, and cost every other transfer.
		DynamicRecordSizingDisabled: true,
	}
}

func (s *Server) certificateFor(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	get := s.cfg.Certificate
	if get == nil {
		get = s.node.Certificate
	}
	if cert, err := get(); err == nil && cert != nil {
		return cert, nil
	}
	return s.standIn()
}

// wrap puts the PROXY protocol and the registry of connections around a
// listener.
func (s *Server) wrap(l Listener) net.Listener {
	ln := l.Listener
	if len(l.ProxyProtocol) > 0 {
		ln = &proxyproto.Listener{Listener: ln, ReadHeaderTimeout: s.limits.HeaderTime,
			ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
				if fromProxy(l.ProxyProtocol, o.Upstream.String()) {
					return proxyproto.REQUIRE, nil
				}
				return proxyproto.SKIP, nil // a header from anybody else is not HTTPS, and fails as such
			}}
	}
	return tracked{ln, &s.conns, slices.Concat(l.ProxyProtocol, l.ClientCert)}
}

// newStandIn makes the certificate of a server that has no keys yet. Nobody
// is meant to trust it: it is there for /livez and /readyz.
func newStandIn() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a stand-in certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "EFS server without keys"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a stand-in certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
