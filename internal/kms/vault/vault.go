// Package vault is the KMS whose master keys lie in a HashiCorp Vault's
// Transit engine (or OpenBao's) and never leave it: Vault wraps and unwraps.
package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/kms/vaultconn"
	"github.com/efs-project/efs/internal/secret"
)

const bindingLabel = "efs kms-vault wrap\x00"

// Config is a provider's settings.
type Config struct {
	vaultconn.Config `koanf:",squash"`
	Mount            string `koanf:"mount"` // where Transit is mounted; "transit" if empty
}

// KMS is an efs.KMS over Transit. Its operations are as far as Transit has
// them; states, descriptions and planned deletion are efs.ErrUnsupported.
type KMS struct {
	name, mount string
	conn        *vaultconn.Conn
}

var _ efs.KMS = (*KMS)(nil)

// New opens a provider. Nothing is sent to Vault before it is needed. Close it.
func New(_ context.Context, name string, c Config) (*KMS, error) {
	conn, err := vaultconn.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &KMS{name: name, mount: strings.Trim(cmp.Or(c.Mount, "transit"), "/"), conn: conn}, nil
}

// Close ends what is under way and the renewal of the token.
func (k *KMS) Close() error { return k.conn.Close() }

// Name is the name in the configuration.
func (k *KMS) Name() string { return k.name }

// Ready is nil if Vault is unsealed and knows us.
func (k *KMS) Ready(ctx context.Context) error { return k.conn.Ready(ctx) }

// Wrap has Transit encrypt key ‖ SHA-256(binding) with the binding as
// associated data. The hash is there because a Vault before 1.12 ignores
// associated data without a word. A key that could leave Vault wraps nothing.
func (k *KMS) Wrap(ctx context.Context, id string, key []byte, b efs.Binding) ([]byte, error) {
	if err := masterkey.CheckKey(key); err != nil {
		return nil, err
	}
	if _, err := k.key(ctx, id); err != nil {
		return nil, err
	}
	info, sum, err := bound(id, b)
	if err != nil {
		return nil, err
	}
	plaintext := append(append(make([]byte, 0, plainSize), key...), sum[:]...)
	defer secret.Wipe(plaintext)
	in := map[string][]byte{"plaintext": plaintext, "associated_data": info}
	var out struct {
		Data struct {
			Ciphertext string `json:"ciphertext"`
		} `json:"data"`
	}
	if err := k.conn.Do(ctx, http.MethodPost, k.path("encrypt", id), in, &out); err != nil {
		return nil, k.failed("wrapping under", id, err)
	}
	wrapped, err := pack(out.Data.Ciphertext)
	if err != nil {
		return nil, k.failed("wrapping under", id, err)
	}
	return wrapped, nil
}

// Unwrap has Transit decrypt what Wrap made, under whichever version.
// efs.ErrRefused also for a version below the key's min_decryption_version.
func (k *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	if !usableID(id) {
		return nil, k.noSuchKey(id)
	}
	ciphertext, ok := unpack(wrapped)
	if !ok {
		return nil, masterkey.NotOf(id)
	}
	info, sum, err := bound(id, b)
	if err != nil {
		return nil, err
	}
	in := struct {
		Ciphertext string `json:"ciphertext"`
		Associated []byte `json:"associated_data"`
	}{ciphertext, info}
	var out struct {
		Data struct {
			Plaintext []byte `json:"plaintext"`
		} `json:"data"`
	}
	if err := k.conn.Do(ctx, http.MethodPost, k.path("decrypt", id), in, &out); err != nil {
		return nil, k.notUnwrapped(id, err)
	}
	plaintext := out.Data.Plaintext
	if len(plaintext) != plainSize || subtle.ConstantTimeCompare(plaintext[secret.Size:], sum[:]) != 1 {
		secret.Wipe(plaintext)
		return nil, masterkey.NotOf(id)
	}
	return plaintext[:secret.Size], nil
}

// notUnwrapped says what Transit's refusal to decrypt means. It answers 400
// for a missing key, for one that is too old and for bytes that are none of it.
func (k *KMS) notUnwrapped(id string, err error) error {
	var answer *vaultconn.Error
	if !errors.As(err, &answer) || !errors.Is(answer, efs.ErrBadInput) { // a login that failed is refused instead
		return k.failed("unwrapping with", id, err)
	}
	switch {
	case answer.Says("encryption key not found"):
		return k.noSuchKey(id)
	case answer.Says("disallowed by policy (too old)"):
		return fmt.Errorf("%w: Vault key %s no longer unwraps with the version that wrapped this: lower its min_decryption_version", efs.ErrRefused, id)
	}
	return masterkey.NotOf(id)
}

// bound returns what a wrap is bound to and its hash.
func bound(id string, b efs.Binding) (info []byte, sum [sha256.Size]byte, err error) {
	body, err := detcbor.Marshal([]any{id, b})
	if err != nil {
		return nil, sum, err
	}
	info = append([]byte(bindingLabel), body...)
	return info, sha256.Sum256(info), nil
}

func (k *KMS) path(parts ...string) string { return k.mount + "/" + strings.Join(parts, "/") }

func (k *KMS) failed(doing, id string, err error) error {
	return fmt.Errorf("%s Vault key %s: %w", doing, id, err)
}

func (k *KMS) noSuchKey(id string) error {
	return fmt.Errorf("%w: Vault has no key %s at %s/", efs.ErrNotFound, id, k.mount)
}
