package server

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/efs-project/efs/internal/session"
)

// authenticate finds out who is asking, by the factors that the listener
// demands, and sets x.who. What a request carries must be right even where it
// is not demanded.
func (x *exchange) authenticate(n needs) error {
	need := x.l.Factors
	who, err := x.certificate()
	if err != nil {
		var p *problem
		missing := errors.As(err, &p) && (p.kind == certificateRequired || p.kind == certificateUnknown)
		if need.Certificate || !missing {
			return err
		}
		// A listener that demands no certificate ignores those that have
		// nothing to do with it, such as a browser's.
		who = identity{}
	}
	if n == needsCertificate {
		x.who = who
		return nil
	}
	s, err := x.session(who.cert, need)
	if err != nil {
		return err
	}
	if s == nil { // the certificate is all that is demanded, and all there is
		x.who = who
		return nil
	}
	if who.users == nil {
		if who, err = x.s.member(s.FS); err != nil {
			return sessionProblem(session.ErrExpired)
		}
		who.user = s.User
	}
	if who.fsName != s.FS || who.user != s.User { // a session that is bound to no certificate, over somebody else's
		return sessionProblem(session.ErrBound)
	}
	who.session = s
	x.who = who
	return nil
}

// session finds the session of the request by its credentials; nil where none
// are sent, and none demanded.
func (x *exchange) session(cert string, need Factors) (*session.Session, error) {
	sessions := x.s.node.Sessions()
	conn := connOf(x.r.Context())
	if len(x.l.ClientCert) > 0 {
		conn = nil // of a proxy perhaps, which others send on too
	}
	if conn != nil {
		if p := conn.proven.Load(); p.holds(sessions, x.r.Header, cert) {
			return p.session, nil
		}
	}
	c, err := x.credentials(need)
	if err != nil {
		return nil, err
	}
	if c == (credentials{}) && need == (Factors{Certificate: true}) {
		return nil, nil
	}
	s, until, err := sessions.VerifyUntil(c.token, c.user, c.secret, cert, need)
	if err != nil {
		return nil, sessionProblem(err)
	}
	if conn != nil {
		h := x.r.Header
		// Copies: the headers of a request lie in one piece, which would be kept.
		conn.proven.Store(&proof{strings.Clone(h.Get("Efs-Token")), strings.Clone(h.Get("Authorization")), cert, sessions, s, until})
	}
	return s, nil
}

// credentials are what a request carries besides its certificate.
type credentials struct{ token, user, secret string }

// credentials reads EFS-Token and Authorization.
func (x *exchange) credentials(need Factors) (c credentials, err error) {
	h := x.r.Header
	if len(h["Efs-Token"]) > 1 || len(h["Authorization"]) > 1 {
		return c, badHeader.with("EFS-Token and Authorization must be given once each.")
	}
	c.token = h.Get("Efs-Token")
	auth := h.Get("Authorization")
	if auth == "" {
		return c, nil
	}
	scheme, value, _ := strings.Cut(auth, " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		c.user, c.secret, err = parseBasic(strings.TrimLeft(value, " "))
		return c, err
	case strings.EqualFold(scheme, "Bearer") && need.Basic:
		return c, credentialsRequired.with("This listener demands Basic in Authorization. Send the token in EFS-Token.")
	case strings.EqualFold(scheme, "Bearer"):
		value = strings.TrimSpace(value)
		if c.token != "" && c.token != value {
			return c, badHeader.with("EFS-Token and Authorization: Bearer carry different tokens. Send one of them.")
		}
		c.token = value
		return c, nil
	}
	return c, badHeader.with("Authorization must be Basic, or Bearer where Basic is not demanded.")
}

// parseBasic reads the credentials of the Basic scheme (RFC 7617).
func parseBasic(value string) (user, secret string, err error) {
	var buf [192]byte // enough for every credential that the server makes
	text := buf[:]
	if n := base64.StdEncoding.DecodedLen(len(value)); n > len(text) {
		return "", "", basicInvalid.with("Send Basic exactly as the session's answer gave it.")
	}
	n, err := base64.StdEncoding.Decode(text, []byte(value))
	user, secret, ok := strings.Cut(string(text[:n]), ":")
	if err != nil || !ok || secret == "" {
		return "", "", basicInvalid.with("Send Basic exactly as the session's answer gave it.")
	}
	return user, secret, nil
}

// sessionProblem tells why there is no session.
func sessionProblem(err error) error {
	const again = " Shake hands again: POST /auth/hello, then /auth/session."
	switch {
	case errors.Is(err, session.ErrMissing):
		return credentialsRequired.from(err, "Send what the session's answer gave: Authorization: Basic … and EFS-Token: ….")
	case errors.Is(err, session.ErrExpired):
		return sessionExpired.from(err, "The session ended or the server started anew."+again)
	case errors.Is(err, session.ErrToken):
		return tokenInvalid.from(err, "The token is malformed or not signed by this server."+again)
	case errors.Is(err, session.ErrBasic):
		return basicInvalid.from(err, "The Basic credential and the token must come from the same session."+again)
	case errors.Is(err, session.ErrBound):
		return sessionBound.from(err, "Use the client certificate that the session was opened with, or open a session with this one.")
	case errors.Is(err, session.ErrRenewals):
		return renewalsUsedUp.from(err, "A session is renewed at most 24 times."+again)
	case errors.Is(err, session.ErrAuth):
		return authFailed.from(err, "Either the user is unknown here or the signature is not by the user's key over exactly the text in message.")
	case errors.Is(err, session.ErrNonce):
		return nonceRejected.from(err, "A nonce serves one attempt, for the same user and certificate, within its time. Ask for another: POST /auth/hello.")
	case errors.Is(err, session.ErrBusy):
		return &problem{kind: tooManyRequests, cause: err, retry: 5, detail: "Too many handshakes at once. Wait a moment."}
	}
	return writeProblem(err)
}
