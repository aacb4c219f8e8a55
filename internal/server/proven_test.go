package server

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/node"
)

// A connection remembers the credentials that it has seen, and nothing else
// passes for them.
func TestWhatAConnectionRemembersIsOneSession(t *testing.T) {
	w := newWorld(t)
	for _, a := range []*actor{w.as("alice@docs"), w.as("alice@docs").oldHTTP()} {
		right := *a
		a.do("PUT", "/data/f", "x")
		other := w.as("alice@docs")
		for range 2 { // before and after the right ones have been seen again
			right.do("GET", "/data/f", nil).want(200)
			for name, c := range map[string]struct {
				token, basic string
				want         *problemKind
			}{
				"no credentials":                {"", "", credentialsRequired},
				"no Basic":                      {right.token, "", credentialsRequired},
				"no token":                      {"", right.basic, credentialsRequired},
				"another token":                 {other.token, right.basic, basicInvalid},
				"another Basic":                 {right.token, other.basic, basicInvalid},
				"a token that is cut":           {right.token[:len(right.token)-1], right.basic, tokenInvalid},
				"a token with more at the end":  {right.token + "A", right.basic, tokenInvalid},
				"a Basic with more at the end":  {right.token, right.basic + "AAAA", basicInvalid},
				"token and Basic turned around": {right.basic, right.token, basicInvalid},
			} {
				wrong := right
				wrong.token, wrong.basic = c.token, c.basic
				r := wrong.do("GET", "/data/f", nil)
				if r.status != http.StatusUnauthorized {
					t.Errorf("%s: %d", name, r.status)
				} else if name != "token and Basic turned around" {
					r.wantProblem(c.want)
				}
			}
			right.do("GET", "/data/f", nil, "EFS-Token: "+right.token).wantProblem(badHeader)
		}
		other.do("GET", "/data/f", nil).want(200)
		right.do("GET", "/data/f", nil).want(200)
		right.do("DELETE", "/auth/session", nil).want(204)
		right.do("GET", "/data/f", nil).wantProblem(sessionExpired)
		other.do("GET", "/data/f", nil).want(200)
	}
}

// A token that was followed by another ends at its own time, although the
// session goes on, and although the connection knows it.
func TestARememberedTokenEndsAtItsTime(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, func(c *node.Config, _ *Config, _ *Listener) {
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for _, old := range []bool{false, true} {
		a := w.as("alice@docs")
		if old {
			a = a.oldHTTP()
		}
		began := ahead.Load()
		a.do("PUT", "/data/f", "x")
		ahead.Store(began + int64(40*time.Minute))
		var c struct{ Token string }
		a.do("POST", "/auth/renew", nil).want(200).into(&c)
		a.do("GET", "/data/f", nil).want(200)
		ahead.Store(began + int64(70*time.Minute))
		a.do("GET", "/data/f", nil).wantProblem(sessionExpired)
		a.token = c.Token
		a.do("GET", "/data/f", nil).want(200)
		a.do("GET", "/data/f", nil).want(200)
	}
}
