package session

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/auth"
	"github.com/efs-project/efs/internal/userkey"
)

func TestHandshake(t *testing.T) {
	h := newHouse(t)
	hello := h.hello("app1", certOf("app1"))
	msg, err := auth.ParseMessage(hello.Message)
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Message{Instance: h.Instance().String(), FS: fsName, User: "app1", CertSHA256: certOf("app1"), Nonce: hello.Nonce, Expires: msg.Expires}
	if msg != want || hello.ExpiresIn != 60 || !msg.Expires.Equal(h.now().Add(time.Minute)) {
		t.Errorf("hello: %+v in %ds, want %+v", msg, hello.ExpiresIn, want)
	}
	c := h.login("app1")
	if c.ExpiresIn != 3600 || c.RenewalsLeft != 24 || c.Token == "" || c.Basic == "" {
		t.Errorf("credentials: %+v", c)
	}
	user, secret := basic(t, c)
	s, err := h.Verify(c.Token, user, secret, certOf("app1"), AllFactors)
	if err != nil || s != c.Session || s.User != "app1" || s.FS != fsName {
		t.Errorf("Verify: %+v, %v", s, err)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	h := newHouse(t)
	good := func() BeginRequest { return h.request("app1", certOf("app1")) }
	for name, c := range map[string]struct {
		change func(*BeginRequest)
		want   error
	}{
		"nothing wrong":        {func(*BeginRequest) {}, nil},
		"signature by another": {func(r *BeginRequest) { r.Signature = h.sign("app2", h.hello("app1", "").Message) }, ErrAuth},
		"another text":         {func(r *BeginRequest) { r.Signature = h.sign("app1", "efs-auth-v1") }, ErrAuth},
		"garbage signature":    {func(r *BeginRequest) { r.Signature = "garbage" }, efs.ErrBadInput},
		"no signature":         {func(r *BeginRequest) { r.Signature = "" }, efs.ErrBadInput},
		"another user":         {func(r *BeginRequest) { r.User = "app2" }, ErrNonce},
		"another fs":           {func(r *BeginRequest) { r.FS = "other-data" }, ErrNonce},
		"another certificate":  {func(r *BeginRequest) { r.CertSHA256 = certOf("app2") }, ErrNonce},
		"no certificate":       {func(r *BeginRequest) { r.CertSHA256 = "" }, ErrNonce},
		"no nonce":             {func(r *BeginRequest) { r.Nonce = "" }, ErrNonce},
		"invented nonce":       {func(r *BeginRequest) { r.Nonce = randomText(nonceSize) }, ErrNonce},
		"longer nonce":         {func(r *BeginRequest) { r.Nonce += "AA" }, ErrNonce},
		"nonce with newline":   {func(r *BeginRequest) { r.Nonce = r.Nonce[:8] + "\n" + r.Nonce[8:] }, ErrNonce},
	} {
		r := good()
		c.change(&r)
		_, err := h.Begin(ctx, r)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}

	// The certificate of one user with the key of another.
	hello := h.hello("app1", certOf("app2"))
	_, err := h.Begin(ctx, BeginRequest{FS: fsName, User: "app1", Nonce: hello.Nonce, Signature: h.sign("app1", hello.Message), CertSHA256: certOf("app2")})
	if !errors.Is(err, ErrAuth) {
		t.Errorf("somebody else's certificate: %v", err)
	}
	for _, bad := range []HelloRequest{
		{FS: "x/y", User: "app1"}, {FS: fsName, User: "a\nb"}, {FS: fsName}, {User: "app1"}, {FS: fsName, User: "app1", CertSHA256: "ABC"},
	} {
		if _, err := h.Hello(ctx, bad); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("hello %+v: %v", bad, err)
		}
	}
}

// A nonce works once, whether its first use was right or wrong, and whoever
// used it.
func TestNonceIsSpentByItsFirstUse(t *testing.T) {
	h := newHouse(t)
	for name, first := range map[string]func(r BeginRequest) BeginRequest{
		"right":             func(r BeginRequest) BeginRequest { return r },
		"wrong signature":   func(r BeginRequest) BeginRequest { r.Signature = h.sign("app2", "x"); return r },
		"garbage signature": func(r BeginRequest) BeginRequest { r.Signature = "garbage"; return r },
		"another user":      func(r BeginRequest) BeginRequest { r.User = "app2"; return r },
		"another cert":      func(r BeginRequest) BeginRequest { r.CertSHA256 = certOf("app2"); return r },
	} {
		r := h.request("app1", certOf("app1"))
		h.Begin(ctx, first(r))
		for _, wait := range []time.Duration{0, 30 * time.Second, 29 * time.Second} {
			h.pass(wait)
			if _, err := h.Begin(ctx, r); !errors.Is(err, ErrNonce) {
				t.Errorf("%s, then right: %v, want ErrNonce", name, err)
			}
		}
	}
}

func TestNonceExpires(t *testing.T) {
	h := newHouse(t)
	r := h.request("app1", certOf("app1"))
	h.pass(59 * time.Second)
	if _, err := h.Begin(ctx, r); err != nil {
		t.Errorf("after 59 s: %v", err)
	}
	r = h.request("app1", certOf("app1"))
	h.pass(60 * time.Second)
	if _, err := h.Begin(ctx, r); !errors.Is(err, ErrNonce) {
		t.Errorf("after 60 s: %v", err)
	}
}

func TestNonceOfAnotherInstance(t *testing.T) {
	h := newHouse(t)
	r := h.request("app1", certOf("app1"))
	if _, err := h.start(h.cfg).Begin(ctx, r); !errors.Is(err, ErrNonce) {
		t.Errorf("%v, want ErrNonce", err)
	}
}

func TestOneNonceManyAttemptsAtOnce(t *testing.T) {
	h := newHouse(t)
	r := h.request("app1", certOf("app1"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 16 {
		wg.Go(func() {
			if _, err := h.Begin(ctx, r); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d sessions from one nonce", won)
	}
}

// Saying hello costs the server no memory; answers, which cost their senders a
// request each, are bounded.
func TestHellosAndAttemptsAreBounded(t *testing.T) {
	h := newHouse(t)
	size := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := size()
	for i := range 20_000 {
		h.hello(fmt.Sprintf("user%d", i), "")
	}
	if grown := int64(size()) - int64(before); grown > 256<<10 {
		t.Errorf("20,000 hellos left %d bytes", grown)
	}

	var n nonces
	n.init(time.Minute)
	now := h.now()
	who := [16]byte{1}
	id := func(i int) [16]byte { return [16]byte{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range maxSpentBinding {
		if err := n.remember(now, id(i), who); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.remember(now, id(maxSpentBinding), who); !errors.Is(err, ErrBusy) {
		t.Errorf("one attempt too many by one user: %v", err)
	}
	for i := maxSpentBinding; i < maxSpent; i++ {
		if err := n.remember(now, id(i), id(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.remember(now, id(maxSpent), id(0)); !errors.Is(err, ErrBusy) {
		t.Errorf("one attempt too many overall: %v", err)
	}
	if err := n.remember(now.Add(time.Minute), id(maxSpent), who); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if err := n.remember(now.Add(time.Minute), id(0), who); !errors.Is(err, ErrNonce) {
		t.Errorf("used in the minute before: %v", err)
	}
}

// Who does not exist, who signs wrongly, and who comes with somebody else's
// certificate get the same answers for the same work.
func TestStrangersCannotBeToldApart(t *testing.T) {
	h := newHouse(t)
	work := func(fs, user, cert, signature string) (uint64, error) {
		t.Helper()
		hello, err := h.Hello(ctx, HelloRequest{FS: fs, User: user, CertSHA256: cert})
		if err != nil {
			t.Fatal(err)
		}
		if len(hello.Message)-len(user)-len(fs) != len(h.hello("app1", cert).Message)-len("app1")-len(fsName) {
			t.Errorf("hello for %s in %s has another form: %q", user, fs, hello.Message)
		}
		before := userkey.Verifications()
		_, err = h.Begin(ctx, BeginRequest{FS: fs, User: user, Nonce: hello.Nonce, Signature: signature, CertSHA256: cert})
		return userkey.Verifications() - before, err
	}
	for _, signature := range []string{h.sign("app2", "x"), "garbage"} {
		want, wantErr := work(fsName, "app1", certOf("app1"), signature)
		for name, c := range map[string][3]string{
			"unknown user":           {fsName, "nobody", ""},
			"unknown fs":             {"nothing", "app1", ""},
			"unknown certificate":    {fsName, "app1", certOf("x")},
			"somebody's certificate": {fsName, "app1", certOf("app2")},
			"existing user, no cert": {fsName, "app1", ""},
		} {
			got, err := work(c[0], c[1], c[2], signature)
			if got != want || err.Error() != wantErr.Error() {
				t.Errorf("%s: %d verifications and %q, for a user %d and %q", name, got, err, want, wantErr)
			}
		}
	}
}

// A revocation that falls between the check of the signature and the session's
// making leaves no session.
func TestRevocationDuringHandshake(t *testing.T) {
	h := newHouse(t)
	r := h.request("app1", certOf("app1"))
	verify := h.verify
	h.verify = func(keys []*userkey.Public, message []byte, signature string) error {
		err := verify(keys, message, signature)
		h.people.remove("app1")
		h.EndUser(fsName, "app1")
		return err
	}
	if _, err := h.Begin(ctx, r); !errors.Is(err, ErrAuth) || h.Count() != 0 {
		t.Errorf("%v, %d sessions", err, h.Count())
	}
}
