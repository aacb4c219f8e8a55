package session

import (
	"errors"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// Sessions go on when the signing key is rotated: tokens of before are good
// until they expire, can be renewed, and then nothing is left of the old key.
func TestRotatedSigningKey(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Renewals = 3 })
	seen, fresh := h.login("app1"), h.login("app2")
	old := h.keys.signer()
	check := func(what, user string, c *Credentials, token string, want error) {
		t.Helper()
		_, secret := basic(t, c)
		if _, err := h.Verify(token, user, secret, certOf(user), AllFactors); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("before", "app1", seen, seen.Token, nil)
	h.pass(10 * time.Minute)
	if err := h.Rotate(NewKey()); err != nil {
		t.Fatal(err)
	}
	if h.keys.signer() == old {
		t.Fatal("the old key still signs")
	}
	check("a token that was seen before", "app1", seen, seen.Token, nil)
	check("a token that was not", "app2", fresh, fresh.Token, nil)
	renewed, err := h.Renew(ctx, fresh.Token, certOf("app2"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Renew(ctx, fresh.Token, certOf("app2"))
	if err != nil || again.Token != renewed.Token {
		t.Errorf("renewed twice, two tokens (%v)", err)
	}
	late := h.login("app1")
	h.pass(50*time.Minute + 2*time.Second) // the tokens of before have expired
	check("an expired token", "app1", seen, seen.Token, ErrExpired)
	check("the renewed token", "app2", fresh, renewed.Token, nil)
	check("a token of the new key", "app1", late, late.Token, nil)
	h.pass(10 * time.Minute)
	h.login("app2")
	if len(h.keys.keys) != 1 {
		t.Errorf("%d keys are kept", len(h.keys.keys))
	}
	if err := h.Rotate(make([]byte, KeySize-1)); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("a short key: %v", err)
	}
}
