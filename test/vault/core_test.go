// Package vault_test tests the providers vault and vault-kv against a real
// Vault, run in the test's own process: its core, its Transit and KV engines,
// its AppRole and Kubernetes logins, and its HTTP handler behind TLS. Vault's
// server is under the Business Source License: it is linked here, into tests,
// and into nothing that is shipped.
package vault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// engines are the parts of Vault that the tests use.
var (
	engines = map[string]logical.Factory{"transit": transit.Factory, "kv": kv.Factory}
	logins  = map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory}
)

// registry tells Vault that engines and logins are built in.
type registry struct{}

func of(t consts.PluginType) map[string]logical.Factory {
	switch t {
	case consts.PluginTypeSecrets:
		return engines
	case consts.PluginTypeCredential:
		return logins
	}
	return nil
}

func (registry) Contains(name string, t consts.PluginType) bool {
	_, ok := of(t)[name]
	return ok
}

func (registry) Get(name string, t consts.PluginType) (func() (any, error), bool) {
	f, ok := of(t)[name]
	return func() (any, error) { return f, nil }, ok
}

func (registry) Keys(t consts.PluginType) (names []string) {
	for name := range of(t) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r registry) DeprecationStatus(name string, t consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, t)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

// server is a Vault that can be sealed and restarted. Its storage is memory.
type server struct {
	URL    string
	CAFile string
	Root   *api.Client // with the root token

	t       testing.TB
	storage physical.Backend
	unseal  [][]byte
	core    *vault.Core
	handler atomic.Pointer[http.Handler]
	headers chan http.Header // of requests, while somebody listens
}

// start starts an initialized, unsealed Vault behind TLS with a private CA.
func start(t testing.TB) *server {
	t.Helper()
	storage, err := inmem.NewInmem(nil, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, storage: storage, headers: make(chan http.Header)}
	s.boot()
	t.Cleanup(func() { s.core.ShutdownWait() })
	init, err := s.core.Initialize(t.Context(), &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s.unseal = init.SecretShares
	s.Unseal()
	s.listen()
	s.Root = s.client(init.RootToken)
	return s
}

// boot starts a sealed core over the storage.
func (s *server) boot() {
	s.t.Helper()
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           s.storage,
		LogicalBackends:    engines,
		CredentialBackends: logins,
		BuiltinRegistry:    registry{},
		DisableMlock:       true,
		Logger:             hclog.NewNullLogger(),
		DefaultLeaseTTL:    time.Hour,
		MaxLeaseTTL:        24 * time.Hour,
	})
	if err != nil {
		s.t.Fatalf("starting Vault: %v", err)
	}
	s.core = core
	h := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	s.handler.Store(&h)
}

// Unseal unseals it.
func (s *server) Unseal() {
	s.t.Helper()
	for _, key := range s.unseal {
		if _, err := vault.TestCoreUnseal(s.core, vault.TestKeyCopy(key)); err != nil {
			s.t.Fatalf("unsealing: %v", err)
		}
	}
	if s.core.Sealed() {
		s.t.Fatal("Vault is sealed still")
	}
}

// Seal seals it.
func (s *server) Seal() {
	s.t.Helper()
	if err := s.Root.Sys().Seal(); err != nil {
		s.t.Fatalf("sealing: %v", err)
	}
}

// Restart ends it and starts another over the same storage, sealed.
func (s *server) Restart() {
	s.t.Helper()
	if err := s.core.ShutdownWait(); err != nil {
		s.t.Fatal(err)
	}
	s.boot()
}

func (s *server) listen() {
	s.t.Helper()
	cert, ca := certificate(s.t)
	s.CAFile = filepath.Join(s.t.TempDir(), "vault-ca.pem")
	if err := os.WriteFile(s.CAFile, ca, 0o600); err != nil {
		s.t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		s.t.Fatal(err)
	}
	h := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.headers <- r.Header.Clone():
		default:
		}
		(*s.handler.Load()).ServeHTTP(w, r)
	})}
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	s.t.Cleanup(func() {
		h.Close()
		<-done
	})
	s.URL = "https://" + l.Addr().String()
}

// client is Vault's own client with a token.
func (s *server) client(token string) *api.Client {
	s.t.Helper()
	c := api.DefaultConfig()
	c.Address = s.URL
	if err := c.ConfigureTLS(&api.TLSConfig{CACert: s.CAFile}); err != nil {
		s.t.Fatal(err)
	}
	client, err := api.NewClient(c)
	if err != nil {
		s.t.Fatal(err)
	}
	client.SetToken(token)
	s.t.Cleanup(c.HttpClient.CloseIdleConnections)
	return client
}

// Write writes to a path with the root token.
func (s *server) Write(path string, data map[string]any) *api.Secret {
	s.t.Helper()
	answer, err := s.Root.Logical().WriteWithContext(context.Background(), path, data)
	if err != nil {
		s.t.Fatalf("writing %s: %v", path, err)
	}
	return answer
}

// Mount mounts an empty engine, in place of what is there.
func (s *server) Mount(path, engine string, options map[string]string) {
	s.t.Helper()
	if err := s.Root.Sys().Unmount(path); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Root.Sys().Mount(path, &api.MountInput{Type: engine, Options: options}); err != nil {
		s.t.Fatalf("mounting %s: %v", engine, err)
	}
}

// Policy writes a policy.
func (s *server) Policy(name, rules string) {
	s.t.Helper()
	if err := s.Root.Sys().PutPolicy(name, rules); err != nil {
		s.t.Fatalf("policy %s: %v", name, err)
	}
}

// Token makes a token that has only the given policies.
func (s *server) Token(ttl time.Duration, policies ...string) string {
	s.t.Helper()
	answer, err := s.Root.Auth().Token().Create(&api.TokenCreateRequest{Policies: policies, NoParent: true, NoDefaultPolicy: true, TTL: ttl.String()})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Auth.ClientToken
}

// file writes a file for the test.
func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate makes a CA and a certificate of it for this machine.
func certificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "vault"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// until calls fn until it is nil, for what happens some time later.
func until(t testing.TB, what string, fn func() error) {
	t.Helper()
	err := fn()
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); err = fn() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", what, err))
	}
}
