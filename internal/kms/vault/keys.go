package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/vaultconn"
)

// keyType is the one type of key that is used: the others' ciphertexts carry
// no associated data, or are of another length.
const keyType = "aes256-gcm96"

// keyID is what Transit takes for a name (framework.GenericNameRegex).
var keyID = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_])?$`)

func usableID(id string) bool { return keyID.MatchString(id) }

// transitKey is what Transit tells about a key.
type transitKey struct {
	Type       string         `json:"type"`
	Derived    bool           `json:"derived"`
	Exportable bool           `json:"exportable"`
	Backup     bool           `json:"allow_plaintext_backup"`
	Latest     int            `json:"latest_version"`
	Versions   map[string]any `json:"keys"` // those that still unwrap: when made, Unix seconds (for other types of key, more)
}

type keyAnswer struct {
	Data     transitKey `json:"data"`
	Warnings []string   `json:"warnings"`
}

// suitable refuses keys of another type, and keys that Vault would give away.
func (t transitKey) suitable(id string) error {
	switch {
	case t.Type != keyType:
		return fmt.Errorf("%w: Vault key %s is of type %s: EFS wraps under %s alone: make another key", efs.ErrRefused, id, t.Type, keyType)
	case t.Derived:
		return fmt.Errorf("%w: Vault key %s is a derived key, which needs a context: make another key", efs.ErrRefused, id)
	case t.Exportable, t.Backup:
		return fmt.Errorf("%w: Vault key %s can leave Vault (exportable or allow_plaintext_backup): make another key", efs.ErrRefused, id)
	}
	return nil
}

func (k *KMS) info(id string, t transitKey) efs.KeyInfo {
	first := int64(0)
	for _, v := range t.Versions {
		if created, ok := v.(float64); ok && (first == 0 || int64(created) < first) {
			first = int64(created)
		}
	}
	return efs.KeyInfo{ID: id, Provider: k.name, State: efs.KeyEnabled, Version: t.Latest, Created: time.Unix(first, 0).UTC()}
}

// key reads about a key and refuses one that is unsuitable.
func (k *KMS) key(ctx context.Context, id string) (transitKey, error) {
	if !usableID(id) {
		return transitKey{}, k.noSuchKey(id)
	}
	var answer keyAnswer
	err := k.conn.Do(ctx, http.MethodGet, k.path("keys", id), nil, &answer)
	if errors.Is(err, efs.ErrNotFound) {
		return transitKey{}, k.noSuchKey(id)
	}
	if err != nil {
		return transitKey{}, k.failed("reading about", id, err)
	}
	return answer.Data, answer.Data.suitable(id)
}

// CreateKey makes a key of type aes256-gcm96 that cannot leave Vault.
// efs.ErrUnsupported if something is said about it: Transit keeps no notes.
func (k *KMS) CreateKey(ctx context.Context, id string, o efs.KeyOptions) (efs.KeyInfo, error) {
	if !usableID(id) {
		return efs.KeyInfo{}, fmt.Errorf("%w: %q cannot be the name of a Vault key: letters, digits and underscores, "+
			"dots and dashes between them, at most 128", efs.ErrBadInput, id)
	}
	if o.Description != "" || len(o.Tags) > 0 {
		return efs.KeyInfo{}, errNoNotes
	}
	exists := fmt.Errorf("%w: Vault key %s", efs.ErrExists, id)
	if _, err := k.key(ctx, id); !errors.Is(err, efs.ErrNotFound) {
		if err == nil || errors.Is(err, efs.ErrRefused) && !isAnswer(err) {
			return efs.KeyInfo{}, exists
		}
		return efs.KeyInfo{}, err
	}
	var answer keyAnswer
	if err := k.conn.Do(ctx, http.MethodPost, k.path("keys", id), map[string]string{"type": keyType}, &answer); err != nil {
		return efs.KeyInfo{}, k.failed("creating", id, err)
	}
	if slices.ContainsFunc(answer.Warnings, func(w string) bool { return strings.Contains(w, "already existed") }) {
		return efs.KeyInfo{}, exists // another was faster
	}
	return k.info(id, answer.Data), nil
}

// isAnswer reports whether Vault itself said err.
func isAnswer(err error) bool {
	var answer *vaultconn.Error
	return errors.As(err, &answer)
}

// DescribeKey tells about a key. Its time of creation is that of the oldest
// version that still unwraps. Every key that there is counts as enabled:
// whether Vault lets us use it shows when it is used.
func (k *KMS) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	t, err := k.key(ctx, id)
	if err != nil {
		return efs.KeyInfo{}, err
	}
	return k.info(id, t), nil
}

// ListKeys tells about the keys of the mount that EFS can use.
func (k *KMS) ListKeys(ctx context.Context) ([]efs.KeyInfo, error) {
	var answer struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	err := k.conn.Do(ctx, vaultconn.List, k.path("keys"), nil, &answer)
	if err != nil && (!errors.Is(err, efs.ErrNotFound) || says(err, "no handler for route")) {
		return nil, fmt.Errorf("listing the Vault keys at %s/: %w", k.mount, err)
	}
	slices.Sort(answer.Data.Keys)
	infos := []efs.KeyInfo{}
	for _, id := range answer.Data.Keys {
		t, err := k.key(ctx, id)
		switch {
		case errors.Is(err, efs.ErrNotFound), errors.Is(err, efs.ErrRefused): // deleted meanwhile, unsuitable, or not ours to see
		case err != nil:
			return nil, err
		default:
			infos = append(infos, k.info(id, t))
		}
	}
	return infos, nil
}

func says(err error, text string) bool {
	var answer *vaultconn.Error
	return errors.As(err, &answer) && answer.Says(text)
}

// RotateKey adds a version; what older versions wrapped still unwraps.
func (k *KMS) RotateKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	if _, err := k.key(ctx, id); err != nil {
		return efs.KeyInfo{}, err
	}
	var answer keyAnswer
	if err := k.conn.Do(ctx, http.MethodPost, k.path("keys", id, "rotate"), nil, &answer); err != nil {
		return efs.KeyInfo{}, k.failed("rotating", id, err)
	}
	if answer.Data.Latest == 0 { // Vault before 1.13 does not tell
		return k.DescribeKey(ctx, id)
	}
	return k.info(id, answer.Data), nil
}

var errNoNotes = fmt.Errorf("%w: Vault's Transit keeps no description and no tags of a key: leave them out", efs.ErrUnsupported)

// UpdateKey is efs.ErrUnsupported.
func (k *KMS) UpdateKey(context.Context, string, efs.KeyOptions) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, errNoNotes
}

// EnableKey is efs.ErrUnsupported.
func (k *KMS) EnableKey(_ context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, fmt.Errorf("%w: Vault's Transit has no states of keys: give EFS's Vault policy `update` on %s again",
		efs.ErrUnsupported, k.path("decrypt", id))
}

// DisableKey is efs.ErrUnsupported.
func (k *KMS) DisableKey(_ context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, fmt.Errorf("%w: Vault's Transit has no states of keys: take %s and %s out of EFS's Vault policy",
		efs.ErrUnsupported, k.path("encrypt", id), k.path("decrypt", id))
}

// ScheduleDeletion is efs.ErrUnsupported: Transit deletes at once, and that is
// done in Vault.
func (k *KMS) ScheduleDeletion(_ context.Context, id string, _ time.Duration) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, fmt.Errorf("%w: Vault's Transit deletes at once and without return: `vault write %s deletion_allowed=true`, then `vault delete %s`",
		efs.ErrUnsupported, k.path("keys", id, "config"), k.path("keys", id))
}

// CancelDeletion is efs.ErrUnsupported.
func (k *KMS) CancelDeletion(_ context.Context, id string) (efs.KeyInfo, error) {
	return efs.KeyInfo{}, fmt.Errorf("%w: Vault's Transit plans no deletions", efs.ErrUnsupported)
}
