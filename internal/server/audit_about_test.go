package server

import (
	"crypto/ed25519"
	"testing"

	"github.com/efs-project/efs/internal/access"
)

// A line tells what was done to whom: who was let in, to what, and which key
// and bucket it was about. Paths are sealed in it.
func TestTheLogTellsWhatARequestWasAbout(t *testing.T) {
	w := newWorld(t, audited)
	root := w.admin("root")
	w.grantTo("alice", "docs", "/", access.Admin)
	alice := w.as("alice@docs")
	csr, _ := newCSR(t)
	key := string(publicPEM(t, w.people["bob@docs"].key.Public().(ed25519.PublicKey)))
	const api = "/api/v1/"
	n := 0
	for _, c := range []struct {
		a            *actor
		method, path string
		body         any
		status       int
		detail, name string
	}{
		{root, "POST", "buckets", map[string]string{"name": "made"}, 201, "about made", ""},
		{alice, "POST", "kms/keys", map[string]string{"id": "k"}, 201, "about local/k", ""},
		{alice, "POST", "kms/keys/k/disable", map[string]any{}, 200, "about local/k disable", ""},
		{alice, "POST", "kms/keys/k/schedule-deletion", map[string]any{"force": true}, 200, "about local/k schedule-deletion, by force", ""},
		{alice, "PUT", "buckets/docs/encryption", map[string]any{"enabled": true, "algorithm": "CHACHA20_POLY1305"}, 200, "CHACHA20_POLY1305 under local/default", ""},
		{alice, "POST", "buckets/docs/users", map[string]any{"name": "zoe", "key": key, "csr": csr, "no_grants": true}, 201, "about zoe", ""},
		{alice, "POST", "buckets/docs/grants", map[string]any{"user": "carol@other", "permissions": []string{"reader"}, "path": "/patients/173/"}, 200, "read,list of carol@other", "patients/173"},
		{alice, "DELETE", "buckets/docs/grants", map[string]any{"user": "carol@other", "permissions": []string{"list"}, "path": "/patients/173"}, 204, "list of carol@other", "patients/173"},
		{alice, "DELETE", "buckets/docs/users/zoe", nil, 204, "about zoe", ""},
	} {
		n++
		id := "X-Request-Id: about-" + string(rune('a'+n))
		if c.body == nil {
			c.a.do(c.method, api+c.path, nil, id).want(c.status)
		} else {
			c.a.json(c.method, api+c.path, c.body, id).want(c.status)
		}
		lines := w.events(id[len("X-Request-Id: "):])
		if len(lines) != 1 || lines[0].Detail != c.detail {
			t.Errorf("%s %s: %+v", c.method, c.path, lines)
			continue
		}
		name := ""
		if len(lines[0].Name) > 0 {
			f, err := w.node.FS("docs")
			must(t, err)
			name, err = f.OpenLabel(t.Context(), lines[0].Name)
			must(t, err)
		}
		if name != c.name {
			t.Errorf("%s %s is about %q, want %q", c.method, c.path, name, c.name)
		}
	}
}
