package vault_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/vault"
	"github.com/efs-project/efs/internal/kms/vaultconn"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
)

// withKey is a Vault with a Transit key "a" and the policy to use it.
func withKey(t *testing.T) *server {
	t.Helper()
	s := start(t)
	s.Mount("transit", "transit", nil)
	s.Write("transit/keys/a", map[string]any{"type": "aes256-gcm96"})
	s.Policy("efs-transit", documented(t, "efs-transit"))
	return s
}

// appRole enables AppRole, makes a role and returns how to log in.
func (s *server) appRole(role map[string]any) vaultconn.Config {
	s.t.Helper()
	if err := s.Root.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		s.t.Fatal(err)
	}
	role["token_policies"] = "efs-transit"
	s.Write("auth/approle/role/efs", role)
	id, err := s.Root.Logical().Read("auth/approle/role/efs/role-id")
	if err != nil {
		s.t.Fatal(err)
	}
	return vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "approle",
		RoleID: id.Data["role_id"].(string), SecretIDFile: file(s.t, "secret-id", s.secretID())}
}

func (s *server) secretID() string {
	s.t.Helper()
	return s.Write("auth/approle/role/efs/secret-id", nil).Data["secret_id"].(string)
}

// tokens returns the tokens that were given to the role efs and are good.
func (s *server) tokens() (accessors []string) {
	s.t.Helper()
	list, err := s.Root.Logical().List("auth/token/accessors")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range list.Data["keys"].([]any) {
		answer, err := s.Root.Auth().Token().LookupAccessor(a.(string))
		if err == nil && strings.HasPrefix(fmt.Sprint(answer.Data["path"]), "auth/approle/") {
			accessors = append(accessors, a.(string))
		}
	}
	return accessors
}

func (s *server) revoke(accessors ...string) {
	s.t.Helper()
	for _, a := range accessors {
		if err := s.Root.Auth().Token().RevokeAccessor(a); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestAppRole(t *testing.T) {
	s := withKey(t)
	c := s.appRole(map[string]any{"token_ttl": "1h"})
	k := openTransit(t, vault.Config{Config: c})
	w := wrap(t, k)
	w.mustOpen("after a login by AppRole")
	if n := len(s.tokens()); n != 1 {
		t.Errorf("%d logins for one provider", n)
	}

	s.revoke(s.tokens()...)
	w.mustOpen("after the token was revoked: by a new login")

	// The secret id is gone and the token with it: that is a refusal, until
	// there is another secret id.
	secretID, _ := os.ReadFile(c.SecretIDFile)
	s.Write("auth/approle/role/efs/secret-id/destroy", map[string]any{"secret_id": string(secretID)})
	s.revoke(s.tokens()...)
	w.wantError("without a secret id", efs.ErrRefused)
	mustBe(t, "Ready", k.Ready(t.Context()), efs.ErrRefused)
	if err := w.open(); strings.Contains(err.Error(), string(secretID)) {
		t.Errorf("the error shows the secret id: %v", err)
	}
	if err := os.WriteFile(c.SecretIDFile, []byte(s.secretID()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustOpen("with a new secret id in place of the old")

	if err := os.Remove(c.SecretIDFile); err != nil {
		t.Fatal(err)
	}
	s.revoke(s.tokens()...)
	w.wantError("without the file of the secret id", efs.ErrRefused)
}

// A token is renewed before it ends, and exchanged when it can no more be.
func TestTokenRenewal(t *testing.T) {
	s := withKey(t)
	c := s.appRole(map[string]any{"token_ttl": "3s", "token_max_ttl": "6s"})
	w := wrap(t, openTransit(t, vault.Config{Config: c}))
	first := s.tokens()
	if len(first) != 1 {
		t.Fatalf("tokens: %v", first)
	}
	until(t, "the token is renewed", func() error {
		answer, err := s.Root.Auth().Token().LookupAccessor(first[0])
		if err == nil && answer.Data["last_renewal"] == nil {
			err = errors.New("not renewed")
		}
		return err
	})
	w.mustOpen("with a renewed token")
	until(t, "the token ends", func() error {
		if _, err := s.Root.Auth().Token().LookupAccessor(first[0]); err == nil {
			return errors.New("it is good still")
		}
		return nil
	})
	w.mustOpen("after the end of the token")
	if now := s.tokens(); len(now) == 0 || now[0] == first[0] {
		t.Errorf("tokens: %v, at first %v", now, first)
	}
}

func TestTokenFromFile(t *testing.T) {
	s := withKey(t)
	token := s.Token(time.Hour, "efs-transit")
	path := file(t, "token", token)
	k := openTransit(t, vault.Config{Config: vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "token", TokenFile: path}})
	w := wrap(t, k)
	if err := s.Root.Auth().Token().RevokeTree(token); err != nil {
		t.Fatal(err)
	}
	w.wantError("with a revoked token", efs.ErrRefused)
	if err := w.open(); strings.Contains(err.Error(), token) {
		t.Errorf("the error shows the token: %v", err)
	}
	if err := os.WriteFile(path, []byte(s.Token(time.Hour, "efs-transit")), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustOpen("with another token in the file")
}

func TestTokenFromEnvironment(t *testing.T) {
	s := withKey(t)
	c := vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "token"}
	if _, err := vaultconn.New(c); err == nil {
		t.Error("opened without any token")
	}
	t.Setenv("VAULT_TOKEN", s.Token(time.Hour, "efs-transit"))
	t.Setenv("VAULT_ADDR", "https://127.0.0.1:1") // which is not what EFS was told
	t.Setenv("VAULT_NAMESPACE", "elsewhere")
	wrap(t, openTransit(t, vault.Config{Config: c})).mustOpen("with VAULT_TOKEN")
}

// A pod logs in with the token of its service account, which Vault has
// Kubernetes review. The reviewer here is a loopback server that speaks the
// TokenReview API and verifies the token's signature.
func TestKubernetes(t *testing.T) {
	s := withKey(t)
	key := newKey(t)
	k8s := reviewer(t, &key.PublicKey)
	if err := s.Root.Sys().EnableAuthWithOptions("kubernetes", &api.EnableAuthOptions{Type: "kubernetes"}); err != nil {
		t.Fatal(err)
	}
	s.Write("auth/kubernetes/config", map[string]any{"kubernetes_host": k8s.URL, "token_reviewer_jwt": podToken(t, key, "vault", "reviewer"),
		"kubernetes_ca_cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k8s.Certificate().Raw}))})
	s.Write("auth/kubernetes/role/efs", map[string]any{"bound_service_account_names": "efs", "bound_service_account_namespaces": "storage",
		"token_policies": "efs-transit", "audience": "vault"})
	jwtFile := file(t, "token", podToken(t, key, "storage", "efs"))
	c := vault.Config{Config: vaultconn.Config{Address: s.URL, CAFile: s.CAFile, Auth: "kubernetes", Role: "efs", JWTFile: jwtFile}}
	w := wrap(t, openTransit(t, c))
	w.mustOpen("after a login by Kubernetes")

	for who, token := range map[string]string{
		"another account": podToken(t, key, "storage", "other"),
		"a forger":        podToken(t, newKey(t), "storage", "efs"),
	} {
		if err := os.WriteFile(jwtFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		wrapped{t, openTransit(t, c), w.key, w.bytes}.wantError("by "+who, efs.ErrRefused)
	}
}

type podClaims struct {
	jwt.Claims
	Audience   []string       `json:"aud"` // a list, as Kubernetes writes it
	Kubernetes map[string]any `json:"kubernetes.io"`
}

func podToken(t *testing.T, key *ecdsa.PrivateKey, namespace, account string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(podClaims{
		Claims: jwt.Claims{Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:" + namespace + ":" + account,
			Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)), IssuedAt: jwt.NewNumericDate(time.Now())},
		Audience:   []string{"vault"},
		Kubernetes: map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": "uid-" + account}},
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// reviewer is a Kubernetes API server as far as TokenReview goes.
func reviewer(t *testing.T, key *ecdsa.PublicKey) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct {
				Token     string   `json:"token"`
				Audiences []string `json:"audiences"`
			} `json:"spec"`
		}
		if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&review) != nil {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		status := map[string]any{"authenticated": false, "error": "the token is not good"}
		var claims podClaims
		token, err := jwt.ParseSigned(review.Spec.Token, []jose.SignatureAlgorithm{jose.ES256})
		if err == nil && token.Claims(key, &claims) == nil && claims.Validate(jwt.Expected{}) == nil && slices.Equal(claims.Audience, review.Spec.Audiences) {
			account := claims.Kubernetes["serviceaccount"].(map[string]any)
			status = map[string]any{"authenticated": true, "audiences": claims.Audience, "user": map[string]any{
				"username": claims.Subject, "uid": account["uid"], "groups": []string{"system:serviceaccounts"}}}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
	}))
	t.Cleanup(s.Close)
	return s
}
