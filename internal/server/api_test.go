package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/userkey"
	"github.com/efs-project/efs/seal"
)

// admin returns an administrator of the server with a session.
func (w *world) admin(name string) *actor {
	w.t.Helper()
	realm, err := w.node.Admins()
	must(w.t, err)
	pub, priv, err := ed25519.GenerateKey(nil)
	must(w.t, err)
	public, err := userkey.ParsePublic(publicPEM(w.t, pub))
	must(w.t, err)
	issued, err := realm.CreateUser(context.Background(), name, public, nil)
	must(w.t, err)
	cert, err := tls.X509KeyPair(issued.Bundle, issued.Bundle)
	must(w.t, err)
	p := &person{efs.ServerRealm, name, priv, cert}
	a := w.dial(cert)
	a.login(p)
	return a
}

func publicPEM(t testing.TB, pub ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// newCSR returns a certificate request and its key.
func newCSR(t testing.TB) (csr string, key ed25519.PrivateKey) {
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key
}

func (w *world) grantTo(user, fs, path string, p access.Permissions) {
	w.t.Helper()
	who, err := access.ParsePrincipal(user, fs)
	must(w.t, err)
	must(w.t, w.node.Grant(context.Background(), who, access.Resource{FS: fs, Path: path}, p))
}

// The requests that users of such systems send, in the order in which they do.
func TestEncryptionOfABucket(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	alice := w.as("alice@docs")
	alice.json("POST", "/api/v1/kms/keys", map[string]any{"id": "my-key", "provider": "local", "description": "of docs", "tags": map[string]string{"team": "a"}}).want(201)
	r := alice.json("PUT", "/api/v1/buckets/docs/encryption", map[string]any{"enabled": true, "algorithm": "CHACHA20_POLY1305", "kms_key_id": "local/my-key"}).want(200)
	var got encryptionView
	r.into(&got)
	if !got.Enabled || got.Algorithm != efs.ChaCha20Poly1305 || got.KeyID != "my-key" || got.Provider != "local" || len(got.Stages) != 1 || got.Version != 2 {
		t.Errorf("after PUT: %+v", got)
	}
	alice.do("GET", "/api/v1/buckets/docs/encryption", nil).want(200).into(&got)
	if got.KeyID != "my-key" {
		t.Errorf("GET: %+v", got)
	}
	alice.do("PUT", "/api/v1/buckets/docs/objects/a/b", "sealed by it").want(201)
	if r := alice.do("GET", "/api/v1/buckets/docs/objects/a/b", nil).want(200); string(r.body) != "sealed by it" {
		t.Errorf("read %q", r.body)
	}
	alice.do("HEAD", "/api/v1/buckets/docs/objects/a/b", nil).want(200)
	var key keyView
	alice.do("GET", "/api/v1/kms/keys/my-key", nil).want(200).into(&key)
	if !slices.Equal(key.FileSystems, []string{"docs"}) || !key.Enabled || key.Description != "of docs" {
		t.Errorf("the key: %+v", key)
	}
	alice.do("DELETE", "/api/v1/buckets/docs/encryption", nil).want(204)
	alice.do("GET", "/api/v1/buckets/docs/encryption", nil).want(200).into(&got)
	if got.KeyID != "default" || got.Algorithm != efs.AES256 {
		t.Errorf("after DELETE: %+v", got)
	}
	alice.do("GET", "/api/v1/buckets/docs/objects/a/b", nil).want(200)
	alice.do("DELETE", "/api/v1/buckets/docs/objects/a/b", nil).want(204)
}

// Who asks how a file system is sealed learns who else can open it.
func TestEncryptionTellsOfARecoveryRecipient(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	f, err := w.node.FS("docs")
	must(t, err)
	heir, err := seal.GenerateKeyPair()
	must(t, err)
	p := f.Policy()
	p.Recovery = heir.Public().String()
	_, err = f.SetPolicy(t.Context(), fsys.Who{}, p)
	must(t, err)
	alice := w.as("alice@docs")
	var got encryptionView
	alice.do("GET", "/api/v1/buckets/docs/encryption", nil).want(200).into(&got)
	if got.Recovery != p.Recovery {
		t.Errorf("it tells of %q", got.Recovery)
	}
	alice.do("DELETE", "/api/v1/buckets/docs/encryption", nil).want(204)
	if got := f.Policy().Recovery; got != p.Recovery {
		t.Errorf("who sets the stages has set the recipient to %q", got)
	}
}

func TestNothingIsStoredInClear(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	alice := w.as("alice@docs")
	const at = "/api/v1/buckets/docs/encryption"
	alice.json("PUT", at, map[string]any{"enabled": false}).wantProblem(neverInClear)
	for name, body := range map[string]map[string]any{
		"nothing said":      {},
		"another algorithm": {"enabled": true, "algorithm": "ROT13"},
		"no such key":       {"enabled": true, "kms_key_id": "none"},
		"no such KMS":       {"enabled": true, "kms_key_id": "default", "provider": "nowhere"},
		"both forms":        {"enabled": true, "algorithm": "AES256", "stages": []any{map[string]any{"algorithm": "AES256", "provider": "local", "kms_key_id": "default"}}},
		"unknown field":     {"enabled": true, "algorithmm": "AES256"},
	} {
		if r := alice.json("PUT", at, body); r.status != 400 {
			t.Errorf("%s: status %d: %s", name, r.status, r.body)
		}
	}
	if r := alice.json("PUT", at, map[string]any{"enabled": true, "algorithmm": "AES256"}); !strings.Contains(string(r.body), `no field \"algorithmm\" here`) {
		t.Errorf("it is not told which field is unknown: %s", r.body)
	}
	var got encryptionView
	alice.do("GET", at, nil).want(200).into(&got)
	if got.Version != 1 {
		t.Errorf("refused requests changed the policy: %+v", got)
	}
}

func TestLifeOfAKey(t *testing.T) {
	w := newWorld(t)
	root := w.admin("root")
	const keys = "/api/v1/kms/keys"
	r := root.json("POST", keys, map[string]string{"id": "my-key"}).want(201)
	if r.header.Get("Location") != keys+"/my-key" {
		t.Errorf("Location: %s", r.header.Get("Location"))
	}
	root.json("POST", keys, map[string]string{"id": "my-key"}).wantProblem(exists)
	root.json("POST", keys, map[string]string{"id": "../x"}).wantProblem(badJSON)
	var key keyView
	do := func(action string, body any) keyView {
		t.Helper()
		if body == nil {
			root.do("POST", keys+"/my-key/"+action, nil).want(200).into(&key)
		} else {
			root.json("POST", keys+"/my-key/"+action, body).want(200).into(&key)
		}
		return key
	}
	if k := do("rotate", nil); k.Version != 2 {
		t.Errorf("rotated: %+v", k)
	}
	if k := do("disable", map[string]string{}); k.State != efs.KeyDisabled || k.Enabled {
		t.Errorf("disabled: %+v", k)
	}
	if k := do("enable", nil); k.State != efs.KeyEnabled {
		t.Errorf("enabled: %+v", k)
	}
	if k := do("schedule-deletion", map[string]int{"pending_window_days": 7}); k.State != efs.KeyPendingDeletion || k.DeleteAt.IsZero() {
		t.Errorf("scheduled: %+v", k)
	}
	root.do("POST", keys+"/my-key/enable", nil).wantProblem(conflict)
	root.json("POST", keys+"/my-key/schedule-deletion", map[string]int{"pending_window_days": 99}).wantProblem(badJSON)
	if k := do("cancel-deletion", nil); k.State != efs.KeyDisabled {
		t.Errorf("cancelled: %+v", k)
	}
	root.do("POST", keys+"/my-key/cancel-deletion", nil).wantProblem(conflict)
	root.do("POST", keys+"/default/schedule-deletion", nil).wantProblem(keyInUse)
	root.do("POST", keys+"/none/rotate", nil).wantProblem(notFound)
	root.do("POST", keys+"/my-key/explode", nil).wantProblem(notFound)
	var list struct{ Keys []keyView }
	root.do("GET", keys+"?limit=1", nil).want(200).into(&list)
	if len(list.Keys) != 1 || list.Keys[0].ID != "default" {
		t.Errorf("first page: %+v", list)
	}
	root.do("GET", keys+"?after=local/default", nil).want(200).into(&list)
	if len(list.Keys) != 1 || list.Keys[0].ID != "my-key" {
		t.Errorf("second page: %+v", list)
	}
	var status struct{ Ready bool }
	root.do("GET", "/api/v1/kms/status", nil).want(200).into(&status)
	if !status.Ready {
		t.Error("the local KMS is not ready")
	}
}

func TestLifeOfABucket(t *testing.T) {
	w := newWorld(t)
	root := w.admin("root")
	const buckets = "/api/v1/buckets"
	r := root.json("POST", buckets, map[string]string{"name": "my-bucket"}).want(201)
	if r.header.Get("Location") != buckets+"/my-bucket" {
		t.Errorf("Location: %s", r.header.Get("Location"))
	}
	root.json("POST", buckets, map[string]string{"name": "my-bucket"}).wantProblem(exists)
	root.json("POST", buckets, map[string]string{"name": "My Bucket"}).wantProblem(badJSON)
	var list struct{ Buckets []bucketView }
	root.do("GET", buckets, nil).want(200).into(&list)
	if len(list.Buckets) != 3 || list.Buckets[1].Name != "my-bucket" {
		t.Errorf("buckets: %+v", list)
	}

	// A user with a certificate for a key that never left the client.
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	csr, tlsKey := newCSR(t)
	const users = buckets + "/my-bucket/users"
	root.json("POST", users, map[string]string{"name": "adm", "key": "nonsense", "csr": csr}).wantProblem(badJSON)
	root.json("POST", users, map[string]string{"name": "adm", "key": string(publicPEM(t, pub)), "csr": ""}).wantProblem(badCSR)
	var made struct{ Certificate string }
	root.json("POST", users, map[string]string{"name": "adm", "key": string(publicPEM(t, pub)), "csr": csr}).want(201).into(&made)
	block, _ := pem.Decode([]byte(made.Certificate))
	cert := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: tlsKey}
	adm := w.dial(cert)
	adm.login(&person{"my-bucket", "adm", priv, cert})
	adm.do("PUT", buckets+"/my-bucket/objects/k", "v").want(201)
	var b bucketView
	if root.do("GET", buckets+"/my-bucket", nil).want(200).into(&b); b.Files != 1 || b.Bytes != 1 {
		t.Errorf("the bucket: %+v", b)
	}
	root.do("GET", users+"/adm", nil).want(200)
	root.do("GET", users+"?limit=1", nil).want(200)

	// A user with everything does not manage; an administrator has no files.
	adm.do("GET", users, nil).wantProblem(forbidden)
	adm.json("PUT", buckets+"/my-bucket/encryption", map[string]any{"enabled": true}).wantProblem(forbidden)
	root.do("GET", buckets+"/my-bucket/objects/k", nil).wantProblem(notFound)
	const grants = buckets + "/my-bucket/grants"
	root.json("POST", grants, map[string]any{"user": "adm", "permissions": []string{"admin"}, "path": "/"}).want(200)
	adm.do("GET", grants, nil).want(200)
	adm.json("PUT", buckets+"/my-bucket/encryption", map[string]any{"enabled": true}).want(200)
	adm.json("POST", grants, map[string]any{"user": "carol@other", "permissions": []string{"reader"}, "path": "/shared"}).want(200)
	adm.json("POST", grants, map[string]any{"user": "nobody", "permissions": []string{"reader"}, "path": "/"}).wantProblem(badJSON)
	if r := adm.json("POST", grants, map[string]any{"user": "adm", "permissions": []string{"reed"}, "path": "/"}).wantProblem(badJSON); !strings.Contains(string(r.body), `permission \"reed\": use some of read write`) {
		t.Errorf("it is not told which permission is unknown: %s", r.body)
	}
	carol := w.as("carol@other")
	adm.do("PUT", buckets+"/my-bucket/objects/shared/x", "for carol").want(201)
	carol.do("GET", buckets+"/my-bucket/objects/shared/x", nil).want(200)
	carol.do("GET", buckets+"/my-bucket/objects/k", nil).wantProblem(notFound)
	carol.do("GET", buckets, nil).want(200).into(&list)
	if len(list.Buckets) != 2 || list.Buckets[0].Name != "my-bucket" || list.Buckets[0].Files != 0 {
		t.Errorf("carol's buckets: %+v", list.Buckets)
	}
	adm.json("DELETE", grants, map[string]any{"user": "carol@other", "permissions": []string{"reader"}, "path": "/shared"}).want(204)
	adm.json("DELETE", grants, map[string]any{"user": "carol@other", "permissions": []string{"reader"}, "path": "/shared"}).wantProblem(notFound)
	w.as("carol@other").do("GET", buckets+"/my-bucket", nil).wantProblem(notFound)

	// Only administrators of the server make and delete buckets.
	adm.json("POST", buckets, map[string]string{"name": "another"}).wantProblem(forbidden)
	adm.do("DELETE", buckets+"/my-bucket?force=true", nil).wantProblem(forbidden)
	root.do("DELETE", buckets+"/my-bucket", nil).wantProblem(notEmpty)
	root.do("DELETE", users+"/adm", nil).want(204)
	root.do("DELETE", users+"/adm", nil).wantProblem(notFound)
	root.do("DELETE", buckets+"/my-bucket?force=true", nil).want(204)
	root.do("GET", buckets+"/my-bucket", nil).wantProblem(notFound)
	root.do("POST", "/api/v1/cache/clear", nil).want(200)
}

// What somebody has nothing to do with is answered as what does not exist.
func TestStrangersLearnNothingOfBucketsAndKeys(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	w.as("alice@docs").json("POST", "/api/v1/kms/keys", map[string]string{"id": "hers"}).want(201)
	w.grantTo("carol", "other", "/", access.Admin)
	carol := w.as("carol@other")
	for _, pair := range [][2]string{
		{"/api/v1/buckets/docs", "/api/v1/buckets/none"},
		{"/api/v1/buckets/docs/encryption", "/api/v1/buckets/none/encryption"},
		{"/api/v1/buckets/docs/users", "/api/v1/buckets/none/users"},
		{"/api/v1/buckets/docs/users/alice", "/api/v1/buckets/none/users/alice"},
		{"/api/v1/buckets/docs/grants", "/api/v1/buckets/none/grants"},
		{"/api/v1/kms/keys/hers", "/api/v1/kms/keys/none"},
	} {
		there, not := carol.do("GET", pair[0], nil).wantProblem(notFound), carol.do("GET", pair[1], nil).wantProblem(notFound)
		var a, b document
		there.into(&a)
		not.into(&b)
		a.Instance, b.Instance = "", ""
		if a != b {
			t.Errorf("%v: %+v and %+v", pair, a, b)
		}
	}
	for _, action := range []string{"rotate", "disable", "enable", "schedule-deletion", "cancel-deletion"} {
		carol.do("POST", "/api/v1/kms/keys/hers/"+action, nil).wantProblem(notFound)
	}
	carol.json("PUT", "/api/v1/buckets/other/encryption", map[string]any{"enabled": true, "kms_key_id": "hers"}).wantProblem(badJSON)
	carol.json("PUT", "/api/v1/buckets/other/encryption", map[string]any{"enabled": true, "kms_key_id": "hers", "provider": "local"}).wantProblem(badJSON)
	var list struct{ Keys []keyView }
	carol.do("GET", "/api/v1/kms/keys", nil).want(200).into(&list)
	for _, k := range list.Keys {
		if k.ID == "hers" || slices.Contains(k.FileSystems, "docs") {
			t.Errorf("carol is told of %+v", k)
		}
	}
	carol.do("POST", "/api/v1/cache/clear", nil).wantProblem(forbidden)
	w.as("bob@docs").json("POST", "/api/v1/kms/keys", map[string]string{"id": "bobs"}).wantProblem(forbidden)
	w.as("bob@docs").do("GET", "/api/v1/kms/status", nil).wantProblem(forbidden)
}
