package awskms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
	"github.com/efs-project/efs/internal/kms/kmstest"
)

const arn = "arn:aws:kms:eu-central-1:111122223333:key/"

// service is a loopback server that speaks AWS KMS as far as EFS does (JSON
// 1.1): it verifies signatures (SigV4) and encrypts with AES-256-GCM.
type service struct {
	*httptest.Server
	mu   sync.Mutex
	keys map[string]*masterKey // by ARN
	fail string                // an error for every request
}

type masterKey struct {
	aead    cipher.AEAD
	state   string
	created float64
}

func start(t *testing.T) *service {
	t.Helper()
	s := &service{keys: map[string]*masterKey{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	return s
}

func (s *service) create(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := make([]byte, 32)
	rand.Read(key)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	s.keys[arn+id] = &masterKey{aead, "Enabled", float64(time.Now().Unix())}
}

type request struct {
	KeyID             string            `json:"KeyId"`
	Plaintext         []byte            `json:"Plaintext"`
	CiphertextBlob    []byte            `json:"CiphertextBlob"`
	EncryptionContext map[string]string `json:"EncryptionContext"`
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	code, answer := "", map[string]any(nil)
	if code = s.unsigned(r, body); code == "" {
		code, answer = s.answer(r, body)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": code, "message": "for the test"}
	}
	json.NewEncoder(w).Encode(answer)
}

// unsigned says what is wrong with the signature of a request: it is signed
// once more with the secret that both sides know.
func (s *service) unsigned(r *http.Request, body []byte) string {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	_, signed, ok := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	if err != nil || !ok {
		return "MissingAuthenticationTokenException"
	}
	again, _ := http.NewRequest(r.Method, "http://"+r.Host+r.URL.String(), bytes.NewReader(body))
	for _, h := range strings.Split(signed, ";") {
		if h != "host" && h != "content-length" {
			again.Header[http.CanonicalHeaderKey(h)] = r.Header.Values(h)
		}
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	if err := v4.NewSigner().SignHTTP(r.Context(), credentials, again, hex.EncodeToString(sum[:]), "kms", "eu-central-1", at); err != nil ||
		again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return "InvalidSignatureException"
	}
	return ""
}

func (s *service) answer(r *http.Request, body []byte) (code string, answer map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var q request
	if err := json.Unmarshal(body, &q); err != nil {
		return "SerializationException", nil
	}
	k, ok := s.keys[q.KeyID]
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case s.fail != "":
		return s.fail, nil
	case !ok:
		return "NotFoundException", nil
	case action == "DescribeKey":
		return "", map[string]any{"KeyMetadata": map[string]any{"KeyId": q.KeyID, "KeyState": k.state, "CreationDate": k.created}}
	case k.state == "Disabled":
		return "DisabledException", nil
	case k.state != "Enabled":
		return "KMSInvalidStateException", nil
	}
	ad := contextBytes(q.EncryptionContext)
	switch action {
	case "Encrypt":
		nonce := make([]byte, 12)
		rand.Read(nonce)
		return "", map[string]any{"KeyId": q.KeyID, "CiphertextBlob": k.aead.Seal(nonce, nonce, q.Plaintext, ad)}
	case "Decrypt":
		if len(q.CiphertextBlob) < 12 {
			return "InvalidCiphertextException", nil
		}
		plaintext, err := k.aead.Open(nil, q.CiphertextBlob[:12], q.CiphertextBlob[12:], ad)
		if err != nil {
			return "InvalidCiphertextException", nil
		}
		return "", map[string]any{"KeyId": q.KeyID, "Plaintext": plaintext}
	}
	return "UnknownOperationException", nil
}

func contextBytes(c map[string]string) (b []byte) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		b = append(b, name+"\x00"+c[name]+"\x00"...)
	}
	return b
}

func (s *service) open(t *testing.T) *cloud.KMS {
	t.Helper()
	k, err := New(t.Context(), "aws", Config{Region: "eu-central-1", Endpoint: s.URL,
		Keys: map[string]string{"a": arn + "a", "b": arn + "b", "none": arn + "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestConformance(t *testing.T) {
	var s *service
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			s = start(t)
			return s.open(t)
		},
		Reopen:      func(t *testing.T, _ efs.KMS) efs.KMS { return s.open(t) },
		Create:      func(_ *testing.T, _ efs.KMS, id string) { s.create(id) },
		Unsupported: cloud.Unsupported,
		Versionless: true,
		Remote:      true,
	})
}

var binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

func TestStatesAndErrors(t *testing.T) {
	s := start(t)
	s.create("a")
	k := s.open(t)
	wrapped, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding)
	if err != nil {
		t.Fatal(err)
	}
	set := func(state, fail string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys[arn+"a"].state, s.fail = state, fail
	}
	for _, c := range []struct {
		state, fail string
		want        error
	}{
		{"Disabled", "", efs.ErrRefused},
		{"PendingDeletion", "", efs.ErrRefused},
		{"Enabled", "AccessDeniedException", efs.ErrRefused},
		{"Enabled", "ExpiredTokenException", efs.ErrRefused},
		{"Enabled", "ThrottlingException", efs.ErrUnavailable},
		{"Enabled", "KMSInternalException", efs.ErrUnavailable},
		{"Enabled", "", nil},
	} {
		set(c.state, c.fail)
		if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Unwrap: %v", c, err)
		}
		if _, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Wrap: %v", c, err)
		}
	}
	for state, want := range map[string]efs.KeyState{"Disabled": efs.KeyDisabled, "PendingDeletion": efs.KeyPendingDeletion, "Enabled": efs.KeyEnabled} {
		set(state, "")
		if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.State != want {
			t.Errorf("%s: %+v, %v", state, info, err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if _, err := s.open(t).Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("a wrong signature: %v", err)
	}
	s.Close()
	if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("no server: %v", err)
	}
	if err := k.Ready(t.Context()); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("Ready without a server: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, keys := range []map[string]string{nil, {"a/b": arn}, {"a": ""}} {
		if err := (Config{Region: "eu-central-1", Keys: keys}).Validate(); err == nil {
			t.Errorf("%v is valid", keys)
		}
	}
}
