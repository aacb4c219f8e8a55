package server

import (
	"errors"
	"io"
	"net/http"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/session"
)

// helloRequest and beginRequest are the bodies of the handshake. FS is needed
// where no client certificate tells it.
type helloRequest struct {
	User string `json:"user"`
	FS   string `json:"fs"`
}

type beginRequest struct {
	User      string `json:"user"`
	FS        string `json:"fs"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
}

// hello answers POST /auth/hello: a nonce and the text to sign. It says the
// same of users that exist and of users that do not.
func (x *exchange) hello(target) error {
	var in helloRequest
	if err := x.readAuth(&in); err != nil {
		return err
	}
	fs, err := x.handshakeFS(in.User, in.FS)
	if err != nil {
		return err
	}
	x.claimed, x.fsName = in.User, fs
	out, err := x.s.node.Sessions().Hello(x.r.Context(), session.HelloRequest{FS: fs, User: in.User, CertSHA256: x.who.cert})
	if err != nil {
		return handshakeProblem(err)
	}
	return x.sendValue(http.StatusOK, out)
}

// beginSession answers POST /auth/session: a signed nonce for a session.
func (x *exchange) beginSession(target) error {
	var in beginRequest
	if err := x.readAuth(&in); err != nil {
		return err
	}
	fs, err := x.handshakeFS(in.User, in.FS)
	if err != nil {
		return err
	}
	x.claimed, x.fsName = in.User, fs
	out, err := x.s.node.Sessions().Begin(x.r.Context(), session.BeginRequest{
		FS: fs, User: in.User, Nonce: in.Nonce, Signature: in.Signature, CertSHA256: x.who.cert})
	if err != nil {
		x.s.metrics.handshakes.WithLabelValues("refused").Inc()
		return handshakeProblem(err)
	}
	x.s.metrics.handshakes.WithLabelValues("opened").Inc()
	x.who.user = in.User
	return x.sendValue(http.StatusOK, out)
}

// handshakeFS says which file system a handshake is for: the certificate's,
// or the one that the body names where there is no certificate.
func (x *exchange) handshakeFS(user, named string) (string, error) {
	if !efs.ValidUserName(user) {
		return "", badJSON.with("user must be a user's name: letters, digits, '.', '_' and '-', at most 63 of them.")
	}
	if named != "" && !efs.ValidRealm(named) {
		return "", badJSON.with("fs must be a file system's name: lower-case letters, digits and '-', 2 to 63 of them.")
	}
	switch of := x.who.fsName; {
	case of == "" && named == "":
		return "", badJSON.with("Without a client certificate the body must name the file system in fs.")
	case of == "":
		return named, nil
	case named != "" && named != of:
		return "", wrongFS.with("The client certificate belongs to another file system than fs names.")
	default:
		return of, nil
	}
}

// handshakeProblem is sessionProblem, for a body whose values may be wrong.
func handshakeProblem(err error) error {
	if errors.Is(err, efs.ErrBadInput) {
		return badJSON.from(err, "signature must be the base64 of a raw Ed25519 signature, one armored OpenPGP detached signature, or an SSH signature with namespace efs.")
	}
	return sessionProblem(err)
}

func (x *exchange) readAuth(v any) error {
	if err := x.query().done(); err != nil {
		return err
	}
	return x.readJSON(v, x.s.limits.AuthBodyBytes, "application/json")
}

// renewSession answers POST /auth/renew: the next token for this one.
func (x *exchange) renewSession(target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	c, err := x.credentials(x.l.Factors)
	if err != nil {
		return err
	}
	out, err := x.s.node.Sessions().Renew(x.r.Context(), c.token, x.who.cert)
	if err != nil {
		return sessionProblem(err)
	}
	return x.sendValue(http.StatusOK, out)
}

// endSession answers DELETE /auth/session: the session is over at once, and
// all its credentials with it.
func (x *exchange) endSession(target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	if err := x.authenticate(needsSession); err != nil {
		return err
	}
	if x.who.session == nil {
		return credentialsRequired.with("There is no session to end: the request carried a certificate alone.")
	}
	x.s.node.Sessions().End(x.who.session)
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// renewCertificate answers POST /auth/certificate: a new client certificate
// for the key of a certificate request in PEM form (RFC 2986, 7468).
func (x *exchange) renewCertificate(target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	if err := x.wantType("application/pkcs10", "application/x-pem-file"); err != nil {
		return err
	}
	if declaredTooLarge(x.r, x.s.limits.AuthBodyBytes) {
		return bodyTooLarge.with("A certificate request is no longer than 64 KiB.")
	}
	in := x.newBody(x.s.limits.AuthBodyBytes)
	csr, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	issued, err := x.who.users.Renew(x.r.Context(), x.who.user, csr)
	switch {
	case errors.Is(err, efs.ErrBadInput):
		return badCSR.from(err, "Send one PEM block CERTIFICATE REQUEST for a P-256, P-384, P-521, Ed25519 or RSA key of at least 2048 bits.")
	case errors.Is(err, efs.ErrRefused):
		return forbidden.from(err, "The user has too many certificates, or may have no more. Use one that is there, or ask the administrator.")
	case err != nil:
		return writeProblem(err)
	}
	h := x.Header()
	h.Set("Content-Type", "application/pem-certificate-chain")
	h.Set("Cache-Control", "no-store")
	x.WriteHeader(http.StatusOK)
	_, err = x.Write(issued.Bundle)
	return err
}
