package server

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/efs-project/efs/internal/accesslog"
	"github.com/efs-project/efs/internal/session"
)

// Config says how a server serves. The zero value of each field has a
// sensible meaning, except Certificate, which Serve needs for TLS.
type Config struct {
	Logger *slog.Logger // nil: slog.Default()
	Limits Limits

	// Requests takes a line of each request; nil: Logger does.
	Requests accesslog.Logger

	// Certificate returns the server's certificate at each handshake, so that
	// a renewed one is used at once. While it returns an error or nil, which a
	// server without keys does, a self-signed certificate made at start serves
	// for /livez and /readyz.
	Certificate func() (*tls.Certificate, error)
}

// Factors says what a request must carry.
type Factors = session.Factors

// Listener is where requests come from and what is demanded of them.
type Listener struct {
	net.Listener

	// Ops makes it a plain HTTP listener that serves /livez, /readyz and
	// /metrics and nothing else.
	Ops bool

	// Routes is what is served here; zero: everything. The rest is 404, as if
	// it did not exist.
	Routes Routes

	// AskCert is what is done about client certificates in TLS.
	AskCert AskCert

	// Certificate is asked before Config.Certificate, for a listener with a
	// certificate of its own; nil: there is none.
	Certificate func() (*tls.Certificate, error)

	// Factors is what each request must carry; zero: all three.
	Factors Factors

	// ProxyProtocol lists proxies that pass TCP through with a PROXY protocol
	// header, which they must then send. Others must not send it.
	ProxyProtocol []netip.Prefix

	// ClientCert lists proxies that end TLS themselves and tell the client's
	// certificate in the Client-Cert header (RFC 9440). From all others the
	// header is ignored.
	ClientCert []netip.Prefix

	// Plain takes requests without TLS, and only from proxies in ClientCert.
	Plain bool
}

// Limits bounds what one request, one client and all together may take. Zero
// fields take the defaults of DefaultLimits.
type Limits struct {
	Body           int64         // bytes in an uploaded body; below zero: no bound
	Header         int           // bytes of request headers
	MetaCount      int           // EFS-Meta-* headers of a file
	MetaBytes      int           // their names and values together
	Uploads        int           // uploads larger than SmallUpload at the same time
	Requests       int           // requests at the same time
	Connections    int           // open connections on a listener
	HeaderTime     time.Duration // from a connection's first byte to the end of the headers
	SlowClient     time.Duration // without any progress of a body, in or out
	MinRate        int64         // bytes a second that a body must average, once SlowClient has passed
	IdleTimeout    time.Duration // of a kept connection without a request
	Heartbeat      time.Duration // between empty lines of a change feed without changes
	Shutdown       time.Duration // for requests under way when Serve's context ends
	AuthBodyBytes  int64         // JSON and certificate requests
	PatchBodyBytes int64         // PATCH bodies
}

// SmallUpload is the body length up to which an upload does not count against
// Limits.Uploads: it is read into one buffer and gone again. It is the inline
// limit of the default policy: a longer body takes the buffers of a sealed
// stream, and those of thousands of slow clients would be half a gigabyte.
const SmallUpload = 16 << 10

// DefaultLimits returns the limits of a server that is told nothing else. A
// connection takes 20 KiB as long as it is open, whoever opened it, a request
// under way as much again and its body: all limits used up at once leave the
// server below 200 MiB.
func DefaultLimits() Limits {
	return Limits{
		Body:           1 << 40,
		Header:         32 << 10,
		MetaCount:      64,
		MetaBytes:      8 << 10,
		Uploads:        256,
		Requests:       2048,
		Connections:    2048,
		HeaderTime:     10 * time.Second,
		SlowClient:     30 * time.Second,
		MinRate:        1 << 10,
		IdleTimeout:    2 * time.Minute,
		Heartbeat:      15 * time.Second,
		Shutdown:       30 * time.Second,
		AuthBodyBytes:  64 << 10,
		PatchBodyBytes: 64 << 10,
	}
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	orDefault(&l.Body, d.Body)
	orDefault(&l.Header, d.Header)
	orDefault(&l.MetaCount, d.MetaCount)
	orDefault(&l.MetaBytes, d.MetaBytes)
	orDefault(&l.Uploads, d.Uploads)
	orDefault(&l.Requests, d.Requests)
	orDefault(&l.Connections, d.Connections)
	orDefault(&l.HeaderTime, d.HeaderTime)
	orDefault(&l.SlowClient, d.SlowClient)
	orDefault(&l.MinRate, d.MinRate)
	orDefault(&l.IdleTimeout, d.IdleTimeout)
	orDefault(&l.Heartbeat, d.Heartbeat)
	orDefault(&l.Shutdown, d.Shutdown)
	orDefault(&l.AuthBodyBytes, d.AuthBodyBytes)
	orDefault(&l.PatchBodyBytes, d.PatchBodyBytes)
	return l
}
