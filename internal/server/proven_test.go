package server

import (
	"net/http"
	"testing"
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
