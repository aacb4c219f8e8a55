package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// newHTTP returns clients whose connections present cert: one with a bound on
// the wait for an answer, and a patient one, for requests that the server may
// work on for long (copies).
func (c *Client) newHTTP(cert *tls.Certificate) (quick, patient *http.Client) {
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            c.cfg.RootCAs,
			ServerName:         c.base.Hostname(),
			Certificates:       []tls.Certificate{*cert},
			ClientSessionCache: tls.NewLRUClientSessionCache(32),
		},
		TLSHandshakeTimeout: 15 * time.Second,
		DisableCompression:  true, // what is stored is what is wanted, and Content-Length with it
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 256, // one host: as many as were needed at once
		IdleConnTimeout:     90 * time.Second,
		// A server that is about to refuse says so before the body travels.
		ExpectContinueTimeout: 10 * time.Second,
		ResponseHeaderTimeout: c.cfg.Timeout,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(c.cfg.HTTP2)
	slow := t.Clone()
	slow.ResponseHeaderTimeout = 0
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, CheckRedirect: noRedirect}, &http.Client{Transport: slow, CheckRedirect: noRedirect}
}

// standIn is whose certificate a server shows until it has its keys. Anybody
// can show one: it is a reason to ask the operator, and none to trust.
const standIn = "EFS server without keys"

// trustError says why a server is not trusted and what to do about it.
type trustError struct {
	text string
	err  error
}

func (e *trustError) Error() string        { return e.text }
func (e *trustError) Unwrap() error        { return e.err }
func (e *trustError) Is(target error) bool { return target == ErrUntrusted }

// explain turns errors of the transport into what a person can act upon.
func (c *Client) explain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL says nothing that the operation's name does not
	}
	host := c.base.Host
	var rejected *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown) && errors.As(err, &rejected) && len(rejected.UnverifiedCertificates) > 0:
		leaf := rejected.UnverifiedCertificates[0]
		if leaf.Issuer.CommonName == standIn {
			return &trustError{fmt.Sprintf("%s is not trusted: it shows the stand-in certificate of a server that has no keys. "+
				"Its operator unseals it (efsctl unseal); try again then", host), err}
		}
		return &trustError{fmt.Sprintf("%s is not trusted: its certificate was issued by %q, which is not among the trusted authorities. "+
			"The certificate's SHA-256 fingerprint is %s: compare it with the one that the server prints at start and `efsctl status` shows. "+
			"If they are the same, get the server's ca.crt (efsctl create-user --out DIR writes it; on the server it is /efs/.server/ca.crt) and give it with --ca ca.crt",
			host, leaf.Issuer, fingerprint(leaf)), err}
	case errors.As(err, &name):
		return &trustError{fmt.Sprintf("%s is not trusted: its certificate is not made out to that name (%v). "+
			"Use one of the server's names, or start the server with --hostname %s", host, name, c.base.Hostname()), err}
	case errors.As(err, &invalid):
		return &trustError{fmt.Sprintf("%s is not trusted: %v. Check the clock of this machine and the server's certificate", host, invalid), err}
	}
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("talking to %s: %w: is the server running, and is that its port?", host, err)
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Errorf("there is no host %s: check the server's address", c.base.Hostname())
	}
	return fmt.Errorf("talking to %s: %w", host, err)
}
