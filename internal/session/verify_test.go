package session

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/efs-project/efs"
)

func TestFactors(t *testing.T) {
	h := newHouse(t)
	c, other := h.login("app1"), h.login("app1")
	user, secret := basic(t, c)
	_, otherSecret := basic(t, other)
	cert := certOf("app1")
	bound := []Factors{AllFactors, {Certificate: true, Token: true}, {Certificate: true, Basic: true}, {Token: true}, {Basic: true}, {Basic: true, Token: true}}

	for _, need := range bound {
		for name, c := range map[string]struct {
			token, user, secret, cert string
			want                      error
		}{
			"all":                     {c.Token, user, secret, cert, nil},
			"another session's Basic": {c.Token, user, otherSecret, cert, ErrBasic},
			"another user's Basic":    {c.Token, "app2", secret, cert, ErrBasic},
			"another certificate":     {c.Token, user, secret, certOf("app2"), ErrBound},
			"nothing":                 {"", "", "", cert, ErrMissing},
			"garbage token":           {"garbage", user, secret, cert, ErrToken},
			"wrong secret":            {c.Token, user, secret[:len(secret)-1] + "_", cert, ErrBasic},
		} {
			if _, err := h.Verify(c.token, c.user, c.secret, c.cert, need); !errors.Is(err, c.want) {
				t.Errorf("%+v, %s: %v, want %v", need, name, err, c.want)
			}
		}
		_, err := h.Verify(c.Token, "", "", cert, need)
		if want := missing(need.Basic); !errors.Is(err, want) {
			t.Errorf("%+v, token alone: %v, want %v", need, err, want)
		}
		_, err = h.Verify("", user, secret, cert, need)
		if want := missing(need.Token); !errors.Is(err, want) {
			t.Errorf("%+v, Basic alone: %v, want %v", need, err, want)
		}
		// A bound session needs its certificate wherever it is used.
		_, err = h.Verify(c.Token, user, secret, "", need)
		if want := map[bool]error{true: ErrMissing, false: ErrBound}[need.Certificate]; !errors.Is(err, want) {
			t.Errorf("%+v, no certificate: %v, want %v", need, err, want)
		}
	}
	if _, err := h.Verify("", user, "unknown.secret", cert, Factors{Basic: true}); !errors.Is(err, ErrExpired) {
		t.Errorf("Basic of no session: %v", err)
	}
	if _, err := h.Verify("", user, strings.Split(secret, ".")[0]+".x", cert, Factors{Basic: true}); !errors.Is(err, ErrBasic) {
		t.Errorf("invented Basic for a session: %v", err)
	}
}

func missing(needed bool) error {
	if needed {
		return ErrMissing
	}
	return nil
}

func TestSessionWithoutCertificate(t *testing.T) {
	h := newHouse(t)
	c, err := h.Begin(ctx, h.request("app1", ""))
	if err != nil {
		t.Fatal(err)
	}
	user, secret := basic(t, c)
	if _, err := h.Verify(c.Token, user, secret, "", Factors{Token: true}); err != nil {
		t.Errorf("where none is demanded: %v", err)
	}
	if _, err := h.Verify(c.Token, user, secret, certOf("app1"), AllFactors); !errors.Is(err, ErrBound) {
		t.Errorf("where one is demanded: %v", err)
	}
	if _, err := h.Verify(c.Token, user, secret, "", AllFactors); !errors.Is(err, ErrMissing) {
		t.Errorf("where one is demanded, without: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	h := newHouse(t)
	c := h.login("app1")
	user, secret := basic(t, c)
	h.pass(time.Hour - time.Second)
	if _, err := h.Verify(c.Token, user, secret, certOf("app1"), AllFactors); err != nil {
		t.Errorf("a second before: %v", err)
	}
	h.pass(time.Second)
	if _, err := h.Verify(c.Token, user, secret, certOf("app1"), AllFactors); !errors.Is(err, ErrExpired) {
		t.Errorf("token: %v", err)
	}
	if _, err := h.Verify("", user, secret, certOf("app1"), Factors{Basic: true}); !errors.Is(err, ErrExpired) {
		t.Errorf("Basic: %v", err)
	}
	if _, err := h.Renew(ctx, c.Token, certOf("app1")); !errors.Is(err, ErrExpired) {
		t.Errorf("renewal: %v", err)
	}
	if c.Session.Err() == nil {
		t.Error("the session says it lives")
	}
	h.login("app2")
	if h.Count() != 1 {
		t.Errorf("%d sessions kept, want the new one", h.Count())
	}
}

func TestRenewal(t *testing.T) {
	h := newHouse(t)
	first := h.login("app1")
	cert := certOf("app1")
	user, secret := basic(t, first)
	h.pass(40 * time.Minute)
	second, err := h.Renew(ctx, first.Token, cert)
	if err != nil {
		t.Fatal(err)
	}
	if second.ExpiresIn != 3600 || second.RenewalsLeft != 23 || second.Basic != "" {
		t.Errorf("renewed: %+v", second)
	}
	h.pass(10 * time.Minute)
	again, err := h.Renew(ctx, first.Token, cert)
	if err != nil || again.Token != second.Token || again.RenewalsLeft != 23 || again.ExpiresIn != 3000 {
		t.Errorf("the same renewal again: %+v, %v", again, err)
	}
	if _, err := h.Verify(first.Token, user, secret, cert, AllFactors); err != nil {
		t.Errorf("the old token before its end: %v", err)
	}
	h.pass(10 * time.Minute)
	if _, err := h.Verify(first.Token, user, secret, cert, AllFactors); !errors.Is(err, ErrExpired) {
		t.Errorf("the old token after its end: %v", err)
	}
	if _, err := h.Verify(second.Token, user, secret, cert, AllFactors); err != nil {
		t.Errorf("the new token with the old Basic: %v", err)
	}
	if _, err := h.Renew(ctx, second.Token, certOf("app2")); !errors.Is(err, ErrBound) {
		t.Errorf("renewal over another certificate: %v", err)
	}
}

func TestTwentyFourRenewals(t *testing.T) {
	h := newHouse(t)
	c := h.login("app1")
	for i := range 24 {
		h.pass(59 * time.Minute)
		next, err := h.Renew(ctx, c.Token, certOf("app1"))
		if err != nil {
			t.Fatalf("renewal %d: %v", i+1, err)
		}
		if next.RenewalsLeft != 23-i || next.Token == c.Token {
			t.Errorf("renewal %d: %+v", i+1, next)
		}
		c = next
	}
	if _, err := h.Renew(ctx, c.Token, certOf("app1")); !errors.Is(err, ErrRenewals) {
		t.Errorf("the 25th: %v", err)
	}
	if _, err := h.Verify(c.Token, "", "", certOf("app1"), Factors{Token: true}); err != nil {
		t.Errorf("the last token: %v", err)
	}
}

func TestEnd(t *testing.T) {
	h := newHouse(t)
	a, b, c := h.login("app1"), h.login("app1"), h.login("app2")
	alive := func(c *Credentials) bool {
		_, err := h.Verify(c.Token, "", "", c.Session.CertSHA256, Factors{Token: true})
		if err != nil && !errors.Is(err, ErrExpired) {
			t.Errorf("ended session: %v, want ErrExpired", err)
		}
		return err == nil
	}
	for _, c := range []*Credentials{a, b, c} {
		if !alive(c) {
			t.Fatal("dead from the start")
		}
	}
	h.End(a.Session)
	h.End(a.Session)
	select {
	case <-a.Session.Done():
	default:
		t.Error("Done is not closed")
	}
	if alive(a) || !alive(b) || !alive(c) {
		t.Error("logout ends exactly one session")
	}
	if _, err := h.Renew(ctx, a.Token, certOf("app1")); !errors.Is(err, ErrExpired) {
		t.Errorf("renewing after logout: %v", err)
	}
	if n := h.EndUser(fsName, "app1"); n != 1 || alive(b) || !alive(c) {
		t.Errorf("EndUser ended %d", n)
	}
	if n := h.EndFS(fsName); n != 1 || alive(c) || h.Count() != 0 || len(h.tokens) != 0 {
		t.Errorf("EndFS ended %d; %d sessions, %d tokens left", n, h.Count(), len(h.tokens))
	}
}

func TestSessionsAreBounded(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxPerUser, c.MaxSessions = 3, 4 })
	first := h.login("app1")
	for range 3 {
		h.login("app1")
	}
	if first.Session.Err() == nil || h.Count() != 3 {
		t.Errorf("the oldest of four lives; %d sessions", h.Count())
	}
	h.login("app2")
	if _, err := h.Begin(ctx, h.request("app2", certOf("app2"))); !errors.Is(err, ErrBusy) {
		t.Errorf("above the bound of all: %v", err)
	}
	h.pass(time.Hour)
	h.login("app2")
	if h.Count() != 1 {
		t.Errorf("%d sessions after the others expired", h.Count())
	}
}

func TestRestart(t *testing.T) {
	h := newHouse(t)
	c := h.login("app1")
	user, secret := basic(t, c)
	next := h.cfg
	next.Instance = efs.NewID()
	if _, err := h.start(next).Verify(c.Token, user, secret, certOf("app1"), AllFactors); !errors.Is(err, ErrExpired) {
		t.Errorf("token of the instance before: %v", err)
	}
	next.Keys = [][]byte{NewKey()}
	if _, err := h.start(next).Verify(c.Token, user, secret, certOf("app1"), AllFactors); !errors.Is(err, ErrToken) {
		t.Errorf("token of another server: %v", err)
	}
	next.Keys, next.Instance = [][]byte{NewKey(), h.cfg.Keys[0]}, h.cfg.Instance
	if _, err := h.start(next).parse(c.Token); err != nil {
		t.Errorf("token under an older key that is still given: %v", err)
	}
}

func TestTokenAttacks(t *testing.T) {
	h := newHouse(t)
	c := h.login("app1")
	other := h.login("app2")
	key, kid := h.cfg.Keys[0], h.keys.signer()
	var good claims
	if _, _, err := jwt.NewParser().ParseUnverified(c.Token, &good); err != nil {
		t.Fatal(err)
	}
	forge := func(method jwt.SigningMethod, key any, kid any, change func(*claims)) string {
		t.Helper()
		claims := good
		if change != nil {
			change(&claims)
		}
		token := jwt.NewWithClaims(method, claims)
		if kid != nil {
			token.Header["kid"] = kid
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	parts := strings.Split(c.Token, ".")
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"alg none":              {forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, nil), ErrToken},
		"alg None, header":      {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","kid":"`+kid+`"}`)) + "." + parts[1] + ".", ErrToken},
		"signature cut off":     {parts[0] + "." + parts[1] + ".", ErrToken},
		"two parts":             {parts[0] + "." + parts[1], ErrToken},
		"other algorithm":       {forge(jwt.SigningMethodHS512, key, kid, nil), ErrToken},
		"swapped key":           {forge(jwt.SigningMethodHS256, NewKey(), kid, nil), ErrToken},
		"empty key":             {forge(jwt.SigningMethodHS256, []byte{}, kid, nil), ErrToken},
		"other kid":             {forge(jwt.SigningMethodHS256, key, "other", nil), ErrToken},
		"no kid":                {forge(jwt.SigningMethodHS256, key, nil, nil), ErrToken},
		"kid no text":           {forge(jwt.SigningMethodHS256, key, 7, nil), ErrToken},
		"other user's claims":   {parts[0] + "." + strings.Split(other.Token, ".")[1] + "." + parts[2], ErrToken},
		"other subject":         {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Subject = "app2@user-data" }), ErrToken},
		"other certificate":     {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Confirm = &confirmation{"x"} }), ErrToken},
		"no certificate":        {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Confirm = nil }), ErrToken},
		"renewal of the future": {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Renewal = 1 }), ErrToken},
		"negative renewal":      {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Renewal = -1 }), ErrToken},
		"no expiry":             {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.ExpiresAt = nil }), ErrToken},
		"other instance":        {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Issuer = efs.NewID().String() }), ErrExpired},
		"other session":         {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Session = other.Session.ID }), ErrToken},
		"no such session":       {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.Session = "x" }), ErrExpired},
		"expired":               {forge(jwt.SigningMethodHS256, key, kid, func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(h.now()) }), ErrExpired},
		"trailing space":        {c.Token + " ", ErrToken},
		"padding":               {c.Token + "=", ErrToken},
		"very long":             {strings.Repeat("x", maxToken+1), ErrToken},
	} {
		if _, err := h.Verify(c.token, "", "", certOf("app1"), Factors{Token: true}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := h.Verify(c.Token, "", "", certOf("app1"), Factors{Token: true}); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

// What a token says is what RFC 7519 and RFC 8705 say it should.
func TestTokenClaims(t *testing.T) {
	h := newHouse(t)
	c := h.login("app1")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(c.Token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	x5t, err := thumbprint(certOf("app1"))
	if err != nil {
		t.Fatal(err)
	}
	if got["iss"] != h.Instance().String() || got["sub"] != "app1@user-data" || got["sid"] != c.Session.ID ||
		got["exp"].(float64)-got["iat"].(float64) != 3600 || got["cnf"].(map[string]any)["x5t#S256"] != x5t {
		t.Errorf("claims %s", payload)
	}
}

func TestConcurrentUse(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := h.login("app1")
			for range 20 {
				h.Verify(c.Token, "", "", certOf("app1"), Factors{Token: true})
			}
			next, err := h.Renew(ctx, c.Token, certOf("app1"))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := h.Verify(next.Token, "", "", certOf("app1"), Factors{Token: true}); err != nil {
				t.Error(err)
			}
			h.End(c.Session)
		})
	}
	wg.Wait()
	if h.Count() != 0 || len(h.tokens) != 0 || len(h.byUser) != 0 {
		t.Errorf("%d sessions, %d tokens, %d users left", h.Count(), len(h.tokens), len(h.byUser))
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	good := newHouse(t).cfg
	for name, change := range map[string]func(*Config){
		"no instance": func(c *Config) { c.Instance = efs.ID{} },
		"no keys":     func(c *Config) { c.Keys = nil },
		"short key":   func(c *Config) { c.Keys = [][]byte{make([]byte, 31)} },
		"no users":    func(c *Config) { c.Users = nil },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	h := newHouse(f)
	good := h.login("app1").Token
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := h.Verify(token, "", "", certOf("app1"), Factors{Token: true})
		if err == nil && token != good {
			t.Fatalf("%q is taken for a token", token)
		}
		if err != nil && !errors.Is(err, ErrToken) && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrMissing) {
			t.Fatal(err)
		}
	})
}

func FuzzNonce(f *testing.F) {
	h := newHouse(f)
	f.Add(h.hello("app2", "").Nonce)
	f.Add("")
	f.Fuzz(func(t *testing.T, nonce string) {
		_, err := h.Begin(ctx, BeginRequest{FS: fsName, User: "app1", Nonce: nonce, Signature: h.sign("app1", "x")})
		if !errors.Is(err, ErrNonce) {
			t.Fatal(err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.Clock = time.Now })
	c := h.login("app1")
	user, secret := basic(b, c)
	cert := certOf("app1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Verify(c.Token, user, secret, cert, AllFactors); err != nil {
			b.Fatal(err)
		}
	}
}
