package gcpkms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const ring = "projects/p/locations/eu/keyRings/r/cryptoKeys/"

// service is a loopback server that speaks Google's gRPC as far as EFS does
// and encrypts with AES-256-GCM, a key for each version.
type service struct {
	kmspb.UnimplementedKeyManagementServiceServer
	address string
	stop    func()

	mu   sync.Mutex
	keys map[string]*masterKey
	fail codes.Code // for every request
}

type masterKey struct {
	versions []cipher.AEAD
	state    kmspb.CryptoKeyVersion_CryptoKeyVersionState
	created  *timestamppb.Timestamp
}

func start(t *testing.T) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s := &service{address: l.Addr().String(), stop: g.Stop, keys: map[string]*masterKey{}}
	kmspb.RegisterKeyManagementServiceServer(g, s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
	return s
}

// add makes a key, or another version of it.
func (s *service) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := make([]byte, 32)
	rand.Read(key)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	k, ok := s.keys[ring+id]
	if !ok {
		k = &masterKey{state: kmspb.CryptoKeyVersion_ENABLED, created: timestamppb.Now()}
		s.keys[ring+id] = k
	}
	k.versions = append(k.versions, aead)
}

func (s *service) find(name string) (*masterKey, error) {
	if s.fail != codes.OK {
		return nil, status.Error(s.fail, "for the test")
	}
	if k, ok := s.keys[name]; ok {
		return k, nil
	}
	return nil, status.Errorf(codes.NotFound, "CryptoKey %s not found", name)
}

func (s *service) usable(name string) (*masterKey, error) {
	k, err := s.find(name)
	if err == nil && k.state != kmspb.CryptoKeyVersion_ENABLED {
		err = status.Errorf(codes.FailedPrecondition, "%s is not enabled", name)
	}
	return k, err
}

func (s *service) Encrypt(_ context.Context, r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.usable(r.Name)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 12)
	rand.Read(nonce)
	n := len(k.versions)
	out := k.versions[n-1].Seal(append([]byte{byte(n)}, nonce...), nonce, r.Plaintext, r.AdditionalAuthenticatedData)
	return &kmspb.EncryptResponse{Name: r.Name, Ciphertext: out}, nil
}

func (s *service) Decrypt(_ context.Context, r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.usable(r.Name)
	if err != nil {
		return nil, err
	}
	bad := status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	c := r.Ciphertext
	if len(c) < 13 || c[0] < 1 || int(c[0]) > len(k.versions) {
		return nil, bad
	}
	plaintext, err := k.versions[c[0]-1].Open(nil, c[1:13], c[13:], r.AdditionalAuthenticatedData)
	if err != nil {
		return nil, bad
	}
	return &kmspb.DecryptResponse{Plaintext: plaintext}, nil
}

func (s *service) GetCryptoKey(_ context.Context, r *kmspb.GetCryptoKeyRequest) (*kmspb.CryptoKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.find(r.Name)
	if err != nil {
		return nil, err
	}
	return &kmspb.CryptoKey{Name: r.Name, CreateTime: k.created, Primary: &kmspb.CryptoKeyVersion{
		Name: fmt.Sprintf("%s/cryptoKeyVersions/%d", r.Name, len(k.versions)), State: k.state}}, nil
}

func (s *service) open(t *testing.T) *cloud.KMS {
	t.Helper()
	k, err := open(t.Context(), "gcp", Config{Keys: map[string]string{"a": ring + "a", "b": ring + "b", "none": ring + "none"}},
		option.WithEndpoint(s.address), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
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
		Create:      func(_ *testing.T, _ efs.KMS, id string) { s.add(id) },
		Unsupported: cloud.Unsupported,
		Remote:      true,
	})
}

var binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

func TestRotatedInTheCloud(t *testing.T) {
	s := start(t)
	s.add("a")
	k := s.open(t)
	wrapped, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding)
	if err != nil {
		t.Fatal(err)
	}
	s.add("a")
	if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); err != nil {
		t.Errorf("Unwrap after a rotation: %v", err)
	}
	if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.Version != 2 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestStatesAndErrors(t *testing.T) {
	s := start(t)
	s.add("a")
	k := s.open(t)
	wrapped, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding)
	if err != nil {
		t.Fatal(err)
	}
	set := func(state kmspb.CryptoKeyVersion_CryptoKeyVersionState, fail codes.Code) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys[ring+"a"].state, s.fail = state, fail
	}
	for _, c := range []struct {
		state kmspb.CryptoKeyVersion_CryptoKeyVersionState
		fail  codes.Code
		want  error
	}{
		{kmspb.CryptoKeyVersion_DISABLED, codes.OK, efs.ErrRefused},
		{kmspb.CryptoKeyVersion_DESTROY_SCHEDULED, codes.OK, efs.ErrRefused},
		{kmspb.CryptoKeyVersion_ENABLED, codes.PermissionDenied, efs.ErrRefused},
		{kmspb.CryptoKeyVersion_ENABLED, codes.Unauthenticated, efs.ErrRefused},
		{kmspb.CryptoKeyVersion_ENABLED, codes.Unavailable, efs.ErrUnavailable},
		{kmspb.CryptoKeyVersion_ENABLED, codes.ResourceExhausted, efs.ErrUnavailable},
		{kmspb.CryptoKeyVersion_ENABLED, codes.OK, nil},
	} {
		set(c.state, c.fail)
		if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Unwrap: %v", c, err)
		}
		if _, err := k.Wrap(t.Context(), "a", make([]byte, 32), binding); !errors.Is(err, c.want) {
			t.Errorf("%+v: Wrap: %v", c, err)
		}
	}
	set(kmspb.CryptoKeyVersion_DESTROY_SCHEDULED, codes.OK)
	if info, err := k.DescribeKey(t.Context(), "a"); err != nil || info.State != efs.KeyPendingDeletion {
		t.Errorf("%+v, %v", info, err)
	}
	s.stop()
	if _, err := k.Unwrap(t.Context(), "a", wrapped, binding); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("no server: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, keys := range []map[string]string{nil, {"a": "cryptoKeys/a"}, {"a": ring + "a/cryptoKeyVersions/1"}} {
		if err := (Config{Keys: keys}).Validate(); err == nil {
			t.Errorf("%v is valid", keys)
		}
	}
}
