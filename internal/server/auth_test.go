package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/pki"
	"github.com/fxamacker/cbor/v2"
	"github.com/golang-jwt/jwt/v5"
)

func TestEachFactorIsDemanded(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	bob, carol := w.as("bob@docs"), w.as("carol@other")
	a.do("PUT", "/data/f", "x").want(201)
	alice := w.people["alice@docs"].cert
	for name, c := range map[string]struct {
		certs        []tls.Certificate
		token, basic string
		want         *problemKind
	}{
		"no certificate":                       {nil, a.token, a.basic, certificateRequired},
		"nothing":                              {nil, "", "", certificateRequired},
		"certificate of a stranger":            {[]tls.Certificate{stranger(t)}, a.token, a.basic, certificateUnknown},
		"certificate alone":                    {[]tls.Certificate{alice}, "", "", credentialsRequired},
		"no token":                             {[]tls.Certificate{alice}, "", a.basic, credentialsRequired},
		"no Basic":                             {[]tls.Certificate{alice}, a.token, "", credentialsRequired},
		"Basic of another session":             {[]tls.Certificate{alice}, a.token, bob.basic, basicInvalid},
		"token of another session":             {[]tls.Certificate{alice}, bob.token, a.basic, basicInvalid},
		"session of another user":              {[]tls.Certificate{alice}, bob.token, bob.basic, sessionBound},
		"session of another file system":       {[]tls.Certificate{alice}, carol.token, carol.basic, sessionBound},
		"certificate of another user":          {[]tls.Certificate{w.people["bob@docs"].cert}, a.token, a.basic, sessionBound},
		"garbage for a token":                  {[]tls.Certificate{alice}, "garbage", a.basic, tokenInvalid},
		"garbage for Basic":                    {[]tls.Certificate{alice}, a.token, "!!!", basicInvalid},
		"Basic without a colon":                {[]tls.Certificate{alice}, a.token, base64.StdEncoding.EncodeToString([]byte("alice")), basicInvalid},
		"Basic that is far too long":           {[]tls.Certificate{alice}, a.token, strings.Repeat("QUFB", 500), basicInvalid},
		"Basic with another secret":            {[]tls.Certificate{alice}, a.token, base64.StdEncoding.EncodeToString([]byte("alice:secret")), basicInvalid},
		"token with a bit of another's tail":   {[]tls.Certificate{alice}, a.token[:len(a.token)-4] + "AAAA", a.basic, tokenInvalid},
		"token and Basic in order, but spaces": {[]tls.Certificate{alice}, a.token + " x", a.basic, tokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			x := w.dial(c.certs...)
			x.token, x.basic = c.token, c.basic
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				r := x.do(method, "/data/f", nil)
				if r.status != 401 || r.header.Get("WWW-Authenticate") == "" {
					t.Fatalf("%s: %d %v", method, r.status, r.header)
				}
				if method != "HEAD" {
					r.wantProblem(c.want)
				}
			}
			x.do("GET", "/changes", nil).wantProblem(c.want)
			x.do("GET", "/metrics", nil).wantProblem(c.want)
		})
	}
	a.do("GET", "/data/f", nil).want(200)
	a.do("GET", "/data/f", nil, "Authorization: Bearer "+a.token).wantProblem(badHeader) // a second Authorization
	x := w.dial(alice)
	x.token = a.token
	x.do("GET", "/data/f", nil, "Authorization: Bearer "+a.token).wantProblem(credentialsRequired)
	x.do("GET", "/data/f", nil, "Authorization: Digest x").wantProblem(badHeader)
}

// stranger is a certificate that names a user who exists, from an authority
// that the file system has nothing to do with.
func stranger(t *testing.T) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := pki.NewClientCA("docs")
	must(t, err)
	ca, err := pki.LoadCA(certPEM, keyPEM)
	must(t, err)
	key, keyText, err := pki.NewKey()
	must(t, err)
	text, _, err := ca.IssueClient("docs", "alice", key.Public(), time.Hour)
	must(t, err)
	cert, err := tls.X509KeyPair(text, keyText)
	must(t, err)
	return cert
}

func TestFactorsOfAListener(t *testing.T) {
	for name, c := range map[string]struct {
		factors Factors
		headers func(a *actor) []string
		cert    bool
		want    *problemKind
	}{
		"bearer":                      {Factors{Certificate: true, Token: true}, bearer, true, nil},
		"bearer without certificate":  {Factors{Certificate: true, Token: true}, bearer, false, certificateRequired},
		"token alone, bound":          {Factors{Token: true}, bearer, false, sessionBound},
		"token alone":                 {Factors{Token: true}, bearer, true, nil},
		"Basic alone":                 {Factors{Basic: true}, basic, true, nil},
		"Basic alone, nothing":        {Factors{Basic: true}, nothing, true, credentialsRequired},
		"certificate alone":           {Factors{Certificate: true}, nothing, true, nil},
		"certificate alone, and none": {Factors{Certificate: true}, nothing, false, certificateRequired},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) { l.Factors = c.factors })
			p := w.people["alice@docs"]
			a := w.dial(p.cert)
			a.login(p)
			headers := c.headers(a)
			a.token, a.basic = "", ""
			if !c.cert {
				a = w.dial()
			}
			r := a.do("PUT", "/data/f", "x", headers...)
			if c.want != nil {
				r.wantProblem(c.want)
			} else {
				r.want(201)
			}
		})
	}
}

func bearer(a *actor) []string  { return []string{"Authorization: Bearer " + a.token} }
func basic(a *actor) []string   { return []string{"Authorization: Basic " + a.basic} }
func nothing(a *actor) []string { return nil }

func TestSessionWithoutACertificate(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) { l.Factors = Factors{Basic: true, Token: true} })
	p := w.people["alice@docs"]
	a := w.dial(stranger(t)) // a certificate of no concern, as browsers may send
	a.json("POST", "/auth/hello", map[string]string{"user": "alice"}).wantProblem(badJSON)
	nonce, message := a.hello("alice", "docs")
	r := a.json("POST", "/auth/session", map[string]string{"user": "alice", "fs": "docs", "nonce": nonce, "signature": sign(p.key, message)}).want(200)
	var c struct{ Token, Basic string }
	r.into(&c)
	a.token, a.basic = c.Token, c.Basic
	a.do("PUT", "/data/f", "x").want(201)
}

// Where no certificate is demanded, one that was stolen gives nobody's session
// another name.
func TestACertificateOfAnotherThanTheSessions(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) { l.Factors = Factors{Basic: true, Token: true} })
	begin := func(name, fs string) *actor {
		a := w.dial()
		nonce, message := a.hello(name, fs)
		var c struct{ Token, Basic string }
		a.json("POST", "/auth/session", map[string]string{"user": name, "fs": fs, "nonce": nonce,
			"signature": sign(w.people[name+"@"+fs].key, message)}).want(200).into(&c)
		a.token, a.basic = c.Token, c.Basic
		return a
	}
	alice := begin("alice", "docs")
	alice.do("PUT", "/data/f", "x").want(201)
	for _, thief := range []*actor{begin("bob", "docs"), begin("carol", "other")} {
		stolen := w.dial(w.people["alice@docs"].cert)
		stolen.token, stolen.basic = thief.token, thief.basic
		for range 2 { // the second time as the connection may remember it
			stolen.do("GET", "/data/f", nil).wantProblem(sessionBound)
			stolen.do("PUT", "/data/f", "y").wantProblem(sessionBound)
		}
	}
	own := w.dial(w.people["alice@docs"].cert)
	own.token, own.basic = alice.token, alice.basic
	own.do("GET", "/data/f", nil).want(200)
}

func TestHandshakeAttacks(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.people["alice@docs"], w.people["bob@docs"]
	a, b := w.dial(alice.cert), w.dial(bob.cert)
	begin := func(x *actor, user, nonce, signature string) *reply {
		return x.json("POST", "/auth/session", map[string]string{"user": user, "nonce": nonce, "signature": signature})
	}
	nonce, message := a.hello("alice", "")
	begin(a, "alice", nonce, sign(bob.key, message)).wantProblem(authFailed)
	begin(a, "alice", nonce, sign(alice.key, message)).wantProblem(nonceRejected) // spent by the wrong try

	nonce, message = a.hello("alice", "")
	begin(b, "alice", nonce, sign(alice.key, message)).wantProblem(nonceRejected) // another certificate

	nonce, message = b.hello("alice", "")
	begin(b, "alice", nonce, sign(alice.key, message)).wantProblem(authFailed) // alice's key, bob's certificate

	nonce, message = a.hello("alice", "")
	begin(a, "bob", nonce, sign(bob.key, message)).wantProblem(nonceRejected) // another user

	nonce, message = a.hello("alice", "")
	begin(a, "alice", nonce, sign(alice.key, message)).want(200)
	begin(a, "alice", nonce, sign(alice.key, message)).wantProblem(nonceRejected) // replayed
	begin(a, "alice", "garbage", sign(alice.key, message)).wantProblem(nonceRejected)

	nonce, _ = a.hello("alice", "")
	begin(a, "alice", nonce, "no signature").wantProblem(badJSON)

	// An unknown user and a wrong signature get answers of the same form.
	_, stray, err := ed25519.GenerateKey(nil)
	must(t, err)
	var bodies []string
	for _, user := range []string{"alice", "nobody"} {
		nonce, message := a.hello(user, "")
		r := begin(a, user, nonce, sign(stray, message)).wantProblem(authFailed)
		bodies = append(bodies, strings.ReplaceAll(string(r.body), r.header.Get("X-Request-Id"), "ID"))
	}
	if bodies[0] != bodies[1] {
		t.Errorf("told apart:\n%s%s", bodies[0], bodies[1])
	}
}

func TestForgedTokens(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	parts := strings.Split(a.token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	var m jwt.MapClaims
	must(t, json.Unmarshal(claims, &m))
	var head map[string]any
	h, err := base64.RawURLEncoding.DecodeString(parts[0])
	must(t, err)
	must(t, json.Unmarshal(h, &head))
	resign := func(method jwt.SigningMethod, key any, change func(h map[string]any, c jwt.MapClaims)) string {
		tok := jwt.NewWithClaims(method, jwt.MapClaims{})
		for k, v := range m {
			tok.Claims.(jwt.MapClaims)[k] = v
		}
		tok.Header["kid"] = head["kid"]
		change(tok.Header, tok.Claims.(jwt.MapClaims))
		s, err := tok.SignedString(key)
		must(t, err)
		return s
	}
	same := func(map[string]any, jwt.MapClaims) {}
	_, edKey, err := ed25519.GenerateKey(nil)
	must(t, err)
	guess := []byte(strings.Repeat("k", 32))
	for name, token := range map[string]string{
		"alg none":             enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"alg None, kept kid":   enc(fmt.Appendf(nil, `{"alg":"None","kid":%q}`, head["kid"])) + "." + parts[1] + "." + parts[2],
		"no signature":         parts[0] + "." + parts[1] + ".",
		"another key":          resign(jwt.SigningMethodHS256, guess, same),
		"empty key":            resign(jwt.SigningMethodHS256, []byte{}, same),
		"another algorithm":    resign(jwt.SigningMethodHS512, guess, same),
		"public-key algorithm": resign(jwt.SigningMethodEdDSA, edKey, same),
		"another kid":          resign(jwt.SigningMethodHS256, guess, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "../../dev/null" }),
		"changed claims":       parts[0] + "." + enc([]byte(strings.Replace(string(claims), "alice", "bobby", 1))) + "." + parts[2],
		"later expiry":         parts[0] + "." + enc([]byte(strings.Replace(string(claims), `"exp":1`, `"exp":9`, 1))) + "." + parts[2],
		"four parts":           a.token + ".x",
		"huge":                 strings.Repeat("A", 20000),
	} {
		x := w.dial(w.people["alice@docs"].cert)
		x.token, x.basic = token, a.basic
		t.Run(name, func(t *testing.T) {
			x.w.t = t
			x.do("GET", "/data/", nil).wantProblem(tokenInvalid)
		})
	}
	w.t = t
	a.do("GET", "/data/", nil).want(200)
}

func TestRenewAndLogout(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	first := a.token
	var c struct {
		Token        string
		RenewalsLeft int `json:"renewals_left"`
	}
	for i := range 24 {
		a.do("POST", "/auth/renew", nil).want(200).into(&c)
		again := c.Token
		a.do("POST", "/auth/renew", nil).want(200).into(&c)
		if c.Token != again || c.RenewalsLeft != 23-i {
			t.Fatalf("renewal %d: %d left, same successor: %v", i+1, c.RenewalsLeft, c.Token == again)
		}
		a.token = c.Token
		a.do("GET", "/data/", nil).want(200)
	}
	a.do("POST", "/auth/renew", nil).wantProblem(renewalsUsedUp)
	a.token = first
	a.do("GET", "/data/", nil).want(200) // lives to its own expiry
	a.do("DELETE", "/auth/session", nil).want(204)
	for _, token := range []string{first, c.Token} {
		a.token = token
		a.do("GET", "/data/", nil).wantProblem(sessionExpired)
		a.do("POST", "/auth/renew", nil).wantProblem(sessionExpired)
	}
}

func TestCertificateRenewal(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"evil"}}, key)
	must(t, err)
	r := a.do("POST", "/auth/certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), "Content-Type: application/pkcs10").want(200)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	cert, err := tls.X509KeyPair(r.body, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	must(t, err)
	if cert.Leaf.DNSNames != nil {
		t.Error("the request decided what the certificate says")
	}
	p := *w.people["alice@docs"]
	p.cert = cert
	b := w.dial(cert)
	b.token, b.basic = a.token, a.basic
	b.do("GET", "/data/", nil).wantProblem(sessionBound)
	b.login(&p)
	b.do("GET", "/data/", nil).want(200)
	a.do("GET", "/data/", nil).want(200) // the old one lives to its own end
}

func TestRevocationCutsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	for name, end := range map[string]struct {
		do   func(user string) error
		want *problemKind
	}{
		"revoke": {func(u string) error { f, _ := w.node.FS("docs"); return f.Users.Revoke(context.Background(), u) }, certificateRevoked},
		"delete": {func(u string) error { f, _ := w.node.FS("docs"); return f.Users.DeleteUser(context.Background(), u) }, certificateUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.addUser("docs", "user-"+name)
			cache := tls.NewLRUClientSessionCache(8)
			a := w.dialTLS(&tls.Config{Certificates: []tls.Certificate{p.cert}, ClientSessionCache: cache})
			a.login(p)
			a.do("PUT", "/data/"+name, "x").want(201)

			feed, err := a.http.Do(a.request("GET", "/changes?follow=true", nil))
			must(t, err)
			defer feed.Body.Close()
			other := w.as("alice@docs")
			must(t, end.do(p.name))
			eventually(t, "the feed was cut", func() bool {
				_, err := feed.Body.Read(make([]byte, 4096))
				return err != nil
			})
			x := w.dialTLS(&tls.Config{Certificates: []tls.Certificate{p.cert}, ClientSessionCache: cache})
			x.token, x.basic = a.token, a.basic
			resp, err := x.http.Do(x.request("GET", "/data/"+name, nil))
			must(t, err)
			defer resp.Body.Close()
			if !resp.TLS.DidResume {
				t.Error("the TLS session was not resumed, so that resumption was not tried")
			}
			x.do("GET", "/data/"+name, nil).wantProblem(end.want)
			x.json("POST", "/auth/hello", map[string]string{"user": p.name}).wantProblem(end.want)
			other.do("GET", "/data/"+name, nil).want(200) // nobody else is troubled
		})
	}
}

func TestExpiredCertificate(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	f, err := w.node.FS("docs")
	must(t, err)
	value, _, err := f.AccessGet(context.Background(), "ca", "users")
	must(t, err)
	var rec struct {
		Cert []byte `cbor:"2,keyasint"`
		Key  []byte `cbor:"3,keyasint"`
	}
	must(t, cbor.Unmarshal(value, &rec))
	ca, err := pki.LoadCA(rec.Cert, rec.Key)
	must(t, err)
	key, keyPEM, err := pki.NewKey()
	must(t, err)
	text, _, err := ca.IssueClient("docs", "alice", key.Public(), -time.Minute)
	must(t, err)
	cert, err := tls.X509KeyPair(text, keyPEM)
	must(t, err)
	x := w.dial(cert)
	x.token, x.basic = a.token, a.basic
	x.do("GET", "/data/", nil).wantProblem(certificateExpired)
	x.json("POST", "/auth/hello", map[string]string{"user": "alice"}).wantProblem(certificateExpired)
}

func TestADeletedFileSystemIsGoneForItsUsers(t *testing.T) {
	w := newWorld(t)
	c := w.as("carol@other")
	c.do("PUT", "/data/f", "x").want(201)
	must(t, w.node.DeleteFS(context.Background(), "other", nil))
	x := w.dial(w.people["carol@other"].cert)
	x.token, x.basic = c.token, c.basic
	x.do("GET", "/data/f", nil).wantProblem(certificateUnknown)
}
