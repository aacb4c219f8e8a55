package server

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/session"
)

// identity is who a request was found to come from.
type identity struct {
	fs      *fsys.FS // nil for an administrator of the server
	users   *access.Directory
	fsName  string
	user    string
	cert    string            // SHA-256 of the client certificate in hex, "" for none
	x509    *x509.Certificate // it
	session *session.Session  // nil until the session is known

	rights   *access.Rights // in fs, when the generation of users was rightsAt
	rightsAt uint64
}

// certificate judges the client certificate of the request: of the TLS
// connection, or of the Client-Cert header where the connection comes from a
// listed proxy. Resumed TLS sessions carry the certificate of the first
// handshake, and are judged like any other. A request without a certificate
// gives the problem certificate-required.
func (x *exchange) certificate() (identity, error) {
	generation := x.s.generation.Load()
	header := ""
	if fromProxy(x.l.ClientCert, x.r.RemoteAddr) {
		header = strings.Join(x.r.Header["Client-Cert"], ",")
		if header == "" {
			return identity{}, noCertificate()
		}
	}
	c := connOf(x.r.Context())
	if c != nil {
		if j := c.judged.Load(); j != nil && j.generation == generation && j.header == header && time.Now().Before(j.who.x509.NotAfter) {
			return j.who, j.err
		}
	}
	cert, err := x.presented(header)
	if err != nil {
		return identity{}, err
	}
	who, err := x.s.judge(x.r.Context(), cert)
	if err == nil && c != nil {
		var user userKey
		if header == "" {
			user = userKey{who.fsName, who.user}
		}
		if !c.home.proven(c, user) {
			x.Header().Set("Connection", "close")
			return identity{}, &problem{kind: tooManyRequests, retry: 5, detail: "The user has as many connections open as one user may have. Use those, or close some."}
		}
		c.judged.Store(&judgement{generation, header, who, nil})
	}
	return who, err
}

func noCertificate() *problem {
	return certificateRequired.with("Present the client certificate that efsctl create-user made, for example with curl --cert clientCert.crt.")
}

// presented returns the certificate that the request came with.
func (x *exchange) presented(header string) (*x509.Certificate, error) {
	if header != "" {
		return parseClientCert(header)
	}
	if x.r.TLS == nil || len(x.r.TLS.PeerCertificates) == 0 {
		return nil, noCertificate()
	}
	return x.r.TLS.PeerCertificates[0], nil
}

// parseClientCert reads a Client-Cert header: a structured byte sequence of
// the DER form (RFC 9440, 2.1).
func parseClientCert(v string) (*x509.Certificate, error) {
	if len(v) > 2 && v[0] == ':' && v[len(v)-1] == ':' {
		if der, err := base64.StdEncoding.DecodeString(v[1 : len(v)-1]); err == nil {
			if cert, err := x509.ParseCertificate(der); err == nil {
				return cert, nil
			}
		}
	}
	return nil, badHeader.with("The proxy's Client-Cert header must be one certificate as RFC 9440 has it: the base64 of its DER form between colons.")
}

// judge finds out whose a certificate is. The certificate names a file system
// and a user; the file system's directory says whether that holds. What it
// does not know gets the same answer whether the file system exists or not.
func (s *Server) judge(ctx context.Context, cert *x509.Certificate) (identity, error) {
	fs, _, err := pki.Identity(cert)
	if err != nil {
		return identity{}, unknownCertificate(err)
	}
	who, err := s.member(fs)
	if err != nil {
		return identity{}, unknownCertificate(err)
	}
	user, err := who.users.Judge(ctx, cert)
	switch {
	case errors.Is(err, access.ErrCertificateExpired):
		return identity{}, certificateExpired.from(err, "Ask the administrator for a new certificate, and let the client renew it in time from then on. Check the clock too.")
	case errors.Is(err, access.ErrCertificateRevoked):
		return identity{}, certificateRevoked.from(err, "Ask the administrator why, and for a new certificate.")
	case errors.Is(err, access.ErrCertificateUnknown):
		return identity{}, unknownCertificate(err)
	case err != nil:
		return identity{}, writeProblem(err)
	}
	who.user, who.cert, who.x509 = user, pki.Fingerprint(cert), cert
	who.rightsAt = who.users.Generation()
	who.rights = who.users.Rights(user)
	return who, nil
}

// member returns what is known of every user of a realm.
func (s *Server) member(realm string) (identity, error) {
	who := identity{fsName: realm}
	if realm == efs.ServerRealm {
		var err error
		who.users, err = s.node.Admins()
		return who, err
	}
	f, err := s.node.FS(realm)
	if err != nil {
		return who, err
	}
	who.fs, who.users = f.FS, f.Users
	return who, nil
}

func unknownCertificate(err error) *problem {
	return certificateUnknown.from(err, "No file system that is open on this server issued this certificate to a user it has. Check which certificate the client presents; if it is the right one, ask the operator whether the file system is open.")
}

// fromProxy reports whether a peer is one of the listed proxies.
func fromProxy(proxies []netip.Prefix, remote string) bool {
	if len(proxies) == 0 {
		return false
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return contains(proxies, addr)
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
