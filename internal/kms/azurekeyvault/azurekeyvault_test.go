package azurekeyvault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
	"github.com/efs-project/efs/internal/kms/kmstest"
)

const token = "the token that the test's login gives"

type login struct{ token string }

func (l login) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: l.token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// service is a loopback server that speaks Azure's REST as far as EFS does: it
// demands a token by challenge and encrypts with AES-256-GCM.
type service struct {
	*httptest.Server
	mu   sync.Mutex
	keys map[string]*masterKey
	fail int // a status for every request
}

type masterKey struct {
	kty      string
	disabled bool
	created  int64
	newest   string
	versions map[string]cipher.AEAD
}

func start(t *testing.T) *service {
	t.Helper()
	s := &service{keys: map[string]*masterKey{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

// add makes a key, or another version of it.
func (s *service) add(id, kty string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[id]
	if !ok {
		k = &masterKey{kty: kty, created: time.Now().Unix(), versions: map[string]cipher.AEAD{}}
		s.keys[id] = k
	}
	b := make([]byte, 48)
	rand.Read(b)
	block, _ := aes.NewCipher(b[:32])
	k.newest = hex.EncodeToString(b[32:])
	k.versions[k.newest], _ = cipher.NewGCM(block)
}

type bytes64 []byte // base64url in JSON

func (b bytes64) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(b)), nil
}

func (b *bytes64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(string(text), "="))
	return err
}

type operation struct {
	Algorithm string  `json:"alg,omitempty"`
	KID       string  `json:"kid,omitempty"`
	Value     bytes64 `json:"value"`
	AAD       bytes64 `json:"aad,omitempty"`
	IV        bytes64 `json:"iv,omitempty"`
	Tag       bytes64 `json:"tag,omitempty"`
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status, code, answer := s.answer(r)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.invalid/tenant", resource="https://managedhsm.azure.net"`)
	}
	if code != "" {
		answer = map[string]any{"error": map[string]any{"code": code, "message": "for the test"}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

func (s *service) answer(r *http.Request) (status int, code string, answer any) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // keys/NAME[/VERSION][/OPERATION]
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		return http.StatusUnauthorized, "Unauthorized", nil
	case s.fail != 0:
		return s.fail, "Failing", nil
	case len(parts) < 2 || parts[0] != "keys" || s.keys[parts[1]] == nil:
		return http.StatusNotFound, "KeyNotFound", nil
	}
	k, version := s.keys[parts[1]], ""
	if r.Method == http.MethodGet {
		return http.StatusOK, "", map[string]any{"key": map[string]any{"kid": s.URL + "/keys/" + parts[1] + "/" + k.newest, "kty": k.kty},
			"attributes": map[string]any{"enabled": !k.disabled, "created": k.created}}
	}
	if version = k.newest; len(parts) == 4 {
		version = parts[2]
	}
	aead, ok := k.versions[version]
	var op operation
	switch {
	case !ok:
		return http.StatusNotFound, "KeyNotFound", nil
	case k.disabled:
		return http.StatusForbidden, "KeyDisabled", nil
	case json.NewDecoder(r.Body).Decode(&op) != nil || op.Algorithm != "A256GCM":
		return http.StatusBadRequest, "BadParameter", nil
	}
	out := operation{KID: s.URL + "/keys/" + parts[1] + "/" + version}
	if parts[len(parts)-1] == "encrypt" {
		out.IV = make([]byte, 12)
		rand.Read(out.IV)
		sealed := aead.Seal(nil, out.IV, op.Value, op.AAD)
		out.Value, out.Tag = sealed[:len(op.Value)], sealed[len(op.Value):]
		return http.StatusOK, "", out
	}
	plaintext, err := aead.Open(nil, op.IV, append(op.Value, op.Tag...), op.AAD)
	if err != nil {
		return http.StatusBadRequest, "BadParameter", nil
	}
	out.Value = plaintext
	return http.StatusOK, "", out
}

func (s *service) open(t *testing.T, credential azcore.TokenCredential) *cloud.KMS {
	t.Helper()
	k, err := open("azure", Config{Address: s.URL, Keys: map[string]string{"a": "a", "b": "b", "none": "none"}}, credential, azkeys.ClientOptions{
		ClientOptions:                        azcore.ClientOptions{Transport: s.Client()},
		DisableChallengeResourceVerification: true, // the loopback server is not below azure.net
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestConformance(t *testing.T) {
	var s *service
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			s = start(t)
			return s.open(t, login{token})
		},
		Reopen:      func(t *testing.T, _ efs.KMS) efs.KMS { return s.open(t, login{token}) },
		Create:      func(_ *testing.T, _ efs.KMS, id string) { s.add(id, "oct-HSM") },
		Unsupported: cloud.Unsupported,
		Versionless: true,
		Remote:      true,
	})
}

var binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

func TestStatesAndErrors(t *testing.T) {
	s := start(t)
	s.add("a", "oct-HSM")
	k := s.open(t, login{token})
	wrapped, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding)
	if err != nil {
		t.Fatal(err)
	}
	s.add("a", "oct-HSM")
	if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); err != nil {
		t.Errorf("Unwrap after a rotation: %v", err)
	}
	for _, c := range []struct {
		disabled bool
		fail     int
		want     error
	}{
		{true, 0, efs.ErrRefused},
		{false, http.StatusForbidden, efs.ErrRefused},
		{false, http.StatusTooManyRequests, efs.ErrUnavailable},
		{false, http.StatusServiceUnavailable, efs.ErrUnavailable},
		{false, 0, nil},
	} {
		s.mu.Lock()
		s.keys["a"].disabled, s.fail = c.disabled, c.fail
		s.mu.Unlock()
		if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Unwrap: %v", c, err)
		}
		if _, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Wrap: %v", c, err)
		}
	}
	s.add("b", "RSA-HSM")
	if _, err := k.Wrap(t.Context(), "b", make([]byte, 32), binding); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("Wrap under an RSA key: %v", err)
	}
	if _, err := s.open(t, login{"another"}).Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("another token: %v", err)
	}
	s.Close()
	if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("no server: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	keys := map[string]string{"a": "a"}
	for _, c := range []Config{{"", keys}, {"http://x.managedhsm.azure.net", keys}, {"https://x/keys/a", keys}, {"https://x.managedhsm.azure.net", nil}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
