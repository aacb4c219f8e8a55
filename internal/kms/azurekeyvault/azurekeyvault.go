// Package azurekeyvault is the KMS of Microsoft Azure: keys of type oct-HSM in
// a Managed HSM.
//
// An ordinary Key Vault has RSA keys alone. To their public half anybody can
// encrypt, so that whoever can write EFS's key store could put a key of his own
// there, and read what is stored from then on. Such keys are refused.
package azurekeyvault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
)

// Config is a provider's settings. Credentials are those of the Azure SDK: the
// environment, the workload's or the machine's identity.
type Config struct {
	Address string            `koanf:"address"` // https://NAME.managedhsm.azure.net
	Keys    map[string]string `koanf:"keys"`    // what EFS calls a master key → its name in the HSM
}

// Validate reports everything in c that cannot hold.
func (c Config) Validate() error {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		err = fmt.Errorf("address = %q is not of the form https://NAME.managedhsm.azure.net", c.Address)
	}
	return errors.Join(err, cloud.CheckKeys(c.Keys))
}

// New opens a provider. Nothing is sent before it is needed.
func New(_ context.Context, name string, c Config) (*cloud.KMS, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("reading the credentials of Azure: %w", err)
	}
	return open(name, c, credential, azkeys.ClientOptions{})
}

func open(name string, c Config, credential azcore.TokenCredential, o azkeys.ClientOptions) (*cloud.KMS, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o.Retry = policy.RetryOptions{MaxRetries: -1} // repeating is for the caller
	client, err := azkeys.NewClient(c.Address, credential, &o)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to Azure: %w", err)
	}
	return cloud.New(name, "Azure's own tools (az keyvault key)", c.Keys, backend{client}), nil
}

type backend struct{ client *azkeys.Client }

func (backend) Close() error { return nil }

var algorithm = azkeys.EncryptionAlgorithmA256GCM

// What Encrypt returns: version of the key (32 characters), nonce, tag,
// ciphertext.
const (
	versionSize = 32
	nonceSize   = 12
	tagSize     = 16
)

var keyVersion = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (a backend) Encrypt(ctx context.Context, name string, plaintext []byte, _ efs.Binding, info []byte) ([]byte, error) {
	if _, err := a.Describe(ctx, name); err != nil {
		return nil, err
	}
	out, err := a.client.Encrypt(ctx, name, "", azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: plaintext, AdditionalAuthenticatedData: info}, nil)
	if err != nil {
		return nil, meaning(err)
	}
	version := out.KID.Version()
	if !keyVersion.MatchString(version) || len(out.IV) != nonceSize || len(out.AuthenticationTag) != tagSize {
		return nil, fmt.Errorf("%w: Azure's answer is not in the form of AES-256-GCM", efs.ErrUnavailable)
	}
	return append(append(append([]byte(version), out.IV...), out.AuthenticationTag...), out.Result...), nil
}

func (a backend) Decrypt(ctx context.Context, name string, c []byte, _ efs.Binding, info []byte) ([]byte, error) {
	if len(c) <= versionSize+nonceSize+tagSize || !keyVersion.Match(c[:versionSize]) {
		return nil, efs.ErrWrongKey
	}
	version, c := string(c[:versionSize]), c[versionSize:]
	out, err := a.client.Decrypt(ctx, name, version, azkeys.KeyOperationParameters{Algorithm: &algorithm, AdditionalAuthenticatedData: info,
		IV: c[:nonceSize], AuthenticationTag: c[nonceSize : nonceSize+tagSize], Value: c[nonceSize+tagSize:]}, nil)
	var answer *azcore.ResponseError
	switch {
	case err == nil:
		return out.Result, nil
	case errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest:
		return nil, fmt.Errorf("%w: %w", efs.ErrWrongKey, meaning(err))
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		if _, err := a.Describe(ctx, name); err != nil {
			return nil, err
		}
		return nil, efs.ErrWrongKey // it has no such version
	}
	return nil, meaning(err)
}

// Describe tells about the newest version of a key, and refuses keys of other
// types. Azure does not number versions.
func (a backend) Describe(ctx context.Context, name string) (efs.KeyInfo, error) {
	out, err := a.client.GetKey(ctx, name, "", nil)
	if err != nil {
		return efs.KeyInfo{}, meaning(err)
	}
	if out.Key == nil || out.Key.Kty == nil || *out.Key.Kty != azkeys.KeyTypeOctHSM {
		return efs.KeyInfo{}, fmt.Errorf("%w: it is not of type oct-HSM: make one in a Managed HSM (az keyvault key create --kty oct-HSM --size 256)", efs.ErrRefused)
	}
	info := efs.KeyInfo{State: efs.KeyDisabled, Version: 1}
	if at := out.Attributes; at != nil {
		if at.Created != nil {
			info.Created = at.Created.UTC()
		}
		if at.Enabled != nil && *at.Enabled {
			info.State = efs.KeyEnabled
		}
	}
	return info, nil
}

// meaning turns an error of Azure into one of package efs, without the dump of
// headers that Azure's bears.
func meaning(err error) error {
	var answer *azcore.ResponseError
	var credential *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &credential):
		return fmt.Errorf("%w: Azure lets us not log in: %w", efs.ErrRefused, err)
	case !errors.As(err, &answer):
		return fmt.Errorf("%w: Azure does not answer: %w", efs.ErrUnavailable, err)
	}
	kind := efs.ErrUnavailable
	switch answer.StatusCode {
	case http.StatusNotFound:
		kind = efs.ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest, http.StatusConflict:
		kind = efs.ErrRefused
	}
	return fmt.Errorf("%w: Azure answers %d %s", kind, answer.StatusCode, answer.ErrorCode)
}
