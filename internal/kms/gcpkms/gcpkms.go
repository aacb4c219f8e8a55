// Package gcpkms is the KMS of Google Cloud.
package gcpkms

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Config is a provider's settings. Without a credentials file the credentials
// are Google's application default ones: the environment, the machine, the pod.
type Config struct {
	CredentialsFile string            `koanf:"credentials_file"` // of a service account, JSON
	Endpoint        string            `koanf:"endpoint"`         // another address of the service, HOST:PORT
	Keys            map[string]string `koanf:"keys"`             // what EFS calls a master key → projects/…/cryptoKeys/…
}

var resourceName = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)

// Validate reports everything in c that cannot hold.
func (c Config) Validate() error {
	errs := []error{cloud.CheckKeys(c.Keys)}
	for id, name := range c.Keys {
		if !resourceName.MatchString(name) {
			errs = append(errs, fmt.Errorf("keys: %s = %q is not of the form projects/P/locations/L/keyRings/R/cryptoKeys/K", id, name))
		}
	}
	slices.SortFunc(errs[1:], func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// New opens a provider. Nothing is sent to the master keys before they are
// needed.
func New(ctx context.Context, name string, c Config) (*cloud.KMS, error) {
	var options []option.ClientOption
	if c.CredentialsFile != "" {
		options = append(options, option.WithAuthCredentialsFile(option.ServiceAccount, c.CredentialsFile))
	}
	if c.Endpoint != "" {
		options = append(options, option.WithEndpoint(c.Endpoint))
	}
	return open(ctx, name, c, options...)
}

func open(ctx context.Context, name string, c Config, options ...option.ClientOption) (*cloud.KMS, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	client, err := kms.NewKeyManagementClient(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to Google Cloud: %w", err)
	}
	client.CallOptions = &kms.KeyManagementCallOptions{} // repeating is for the caller
	return cloud.New(name, "Google's own tools (gcloud kms)", c.Keys, backend{client}), nil
}

type backend struct{ client *kms.KeyManagementClient }

func (g backend) Close() error { return g.client.Close() }

func (g backend) Encrypt(ctx context.Context, name string, plaintext []byte, _ efs.Binding, info []byte) ([]byte, error) {
	out, err := g.client.Encrypt(ctx, &kmspb.EncryptRequest{Name: name, Plaintext: plaintext, AdditionalAuthenticatedData: info})
	if err != nil {
		return nil, meaning(err)
	}
	return out.GetCiphertext(), nil
}

func (g backend) Decrypt(ctx context.Context, name string, ciphertext []byte, _ efs.Binding, info []byte) ([]byte, error) {
	out, err := g.client.Decrypt(ctx, &kmspb.DecryptRequest{Name: name, Ciphertext: ciphertext, AdditionalAuthenticatedData: info})
	if status.Code(err) == codes.InvalidArgument {
		return nil, fmt.Errorf("%w: %w", efs.ErrWrongKey, err)
	}
	if err != nil {
		return nil, meaning(err)
	}
	return out.GetPlaintext(), nil
}

// Describe tells about a master key by its primary version, which wraps.
func (g backend) Describe(ctx context.Context, name string) (efs.KeyInfo, error) {
	k, err := g.client.GetCryptoKey(ctx, &kmspb.GetCryptoKeyRequest{Name: name})
	if err != nil {
		return efs.KeyInfo{}, meaning(err)
	}
	version := k.GetPrimary().GetName()
	number, _ := strconv.Atoi(version[strings.LastIndexByte(version, '/')+1:])
	info := efs.KeyInfo{State: efs.KeyDisabled, Version: number, Created: k.GetCreateTime().AsTime(), KeyOptions: efs.KeyOptions{Tags: k.GetLabels()}}
	switch k.GetPrimary().GetState() {
	case kmspb.CryptoKeyVersion_ENABLED:
		info.State = efs.KeyEnabled
	case kmspb.CryptoKeyVersion_DESTROY_SCHEDULED:
		info.State, info.DeleteAt = efs.KeyPendingDeletion, k.GetPrimary().GetDestroyTime().AsTime()
	}
	return info, nil
}

// meaning turns an error of Google Cloud into one of package efs.
func meaning(err error) error {
	kind := efs.ErrUnavailable
	switch status.Code(err) {
	case codes.NotFound:
		kind = efs.ErrNotFound
	case codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.InvalidArgument:
		kind = efs.ErrRefused // FailedPrecondition: disabled, or to be destroyed
	}
	return fmt.Errorf("%w: Google Cloud: %w", kind, err)
}
