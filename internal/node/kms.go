package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/guard"
	"github.com/efs-project/efs/internal/kms/local"
)

// DeletionWait is how long a master key that is to be deleted is kept where
// nobody says otherwise.
func (n *Node) DeletionWait() time.Duration {
	return cmp.Or(n.cfg.KMS.DeletionWait, local.DefaultDeletionWait)
}

// LocalProvider is the name of the KMS that every server has.
const LocalProvider = local.Name

// KeyStatus is a master key and what depends on it.
type KeyStatus struct {
	efs.KeyInfo
	FileSystems []string `json:"file_systems"` // whose keys it wraps, by name
}

// KeyInUseError refuses the deletion of a master key that wraps keys. It wraps
// efs.ErrRefused.
type KeyInUseError struct {
	Provider, ID string
	FileSystems  []string // by name
}

func (e *KeyInUseError) Error() string {
	return fmt.Sprintf("%v: key %s/%s wraps the keys of %s, which nobody could read again: "+
		"put them under another key first, or say that they are to be lost", efs.ErrRefused, e.Provider, e.ID, strings.Join(e.FileSystems, ", "))
}

// Unwrap returns efs.ErrRefused.
func (e *KeyInUseError) Unwrap() error { return efs.ErrRefused }

// Providers returns the names of the KMSs that policies may name, sorted. It
// is empty while the node is sealed.
func (n *Node) Providers() []string {
	v := n.secrets()
	if v == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(v.providers))
}

// provider returns a KMS by name. efs.ErrSealed, efs.ErrNotFound.
func (n *Node) provider(name string) (*vault, *guard.KMS, error) {
	v := n.secrets()
	if v == nil {
		return nil, nil, fmt.Errorf("the server's KMSs: %w", efs.ErrSealed)
	}
	kms, ok := v.providers[name]
	if !ok {
		return nil, nil, fmt.Errorf("KMS provider %q: %w: this server has %s", name, efs.ErrNotFound, strings.Join(n.Providers(), ", "))
	}
	return v, kms, nil
}

// ListKeys describes the master keys of a provider, or of all (""), by
// provider and id. Of all, those of a provider that fails or cannot list are
// left out, and the error says so beside the others' keys.
func (n *Node) ListKeys(ctx context.Context, provider string) ([]KeyStatus, error) {
	if err := n.Serving(); err != nil {
		return nil, err
	}
	names := []string{provider}
	if provider == "" {
		names = n.Providers()
	}
	out := []KeyStatus{}
	var errs []error
	for _, name := range names {
		v, kms, err := n.provider(name)
		if err != nil {
			return nil, err
		}
		infos, err := kms.ListKeys(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("listing the keys of KMS %s: %w", name, err))
			continue
		}
		for _, info := range infos {
			out = append(out, n.keyStatus(v, name, info))
		}
	}
	slices.SortStableFunc(out, func(a, b KeyStatus) int {
		return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.ID, b.ID))
	})
	return out, errors.Join(errs...)
}

// FindKey returns the providers that have a master key called id, by name. A
// provider that does not answer is an error: it might be one of them.
func (n *Node) FindKey(ctx context.Context, id string) ([]string, error) {
	var found []string
	for _, name := range n.Providers() {
		_, kms, err := n.provider(name)
		if err == nil {
			_, err = kms.DescribeKey(ctx, id)
		}
		switch {
		case err == nil:
			found = append(found, name)
		case !errors.Is(err, efs.ErrNotFound) && !errors.Is(err, efs.ErrBadInput):
			return nil, fmt.Errorf("looking for key %s in KMS %s: %w", id, name, err)
		}
	}
	return found, nil
}

// ProviderOf returns the provider that has a master key called id.
// efs.ErrNotFound, or efs.ErrConflict where several have one.
func (n *Node) ProviderOf(ctx context.Context, id string) (string, error) {
	found, err := n.FindKey(ctx, id)
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("master key %q: %w in any KMS of this server (%s)", id, efs.ErrNotFound, strings.Join(n.Providers(), ", "))
	case len(found) > 1:
		return "", fmt.Errorf("%w: several KMSs have a key %s (%s): name the provider", efs.ErrConflict, id, strings.Join(found, ", "))
	}
	return found[0], nil
}

// DescribeKey tells about one master key, in whatever state it is.
func (n *Node) DescribeKey(ctx context.Context, provider, id string) (KeyStatus, error) {
	return n.onKey(provider, "describing", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.DescribeKey(ctx, id) })
}

// CreateKey makes a master key, on which nobody has a grant: those on an
// earlier key of that id are taken away. efs.ErrExists, efs.ErrBadInput.
func (n *Node) CreateKey(ctx context.Context, provider, id string, o efs.KeyOptions) (KeyStatus, error) {
	if err := o.Check(); err != nil {
		return KeyStatus{}, err
	}
	s, err := n.onKey(provider, "creating", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.CreateKey(ctx, id, o) })
	if err != nil {
		return s, err
	}
	if err := n.DropKeyGrants(context.WithoutCancel(ctx), provider, id); err != nil {
		return s, fmt.Errorf("key %s was made, but grants on an earlier one may hold for it: %w", id, err)
	}
	return s, nil
}

// UpdateKey replaces what is said about a master key.
func (n *Node) UpdateKey(ctx context.Context, provider, id string, o efs.KeyOptions) (KeyStatus, error) {
	if err := o.Check(); err != nil {
		return KeyStatus{}, err
	}
	return n.onKey(provider, "updating", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.UpdateKey(ctx, id, o) })
}

// RotateKey adds a version to a master key: what is wrapped from now on is
// wrapped by it.
func (n *Node) RotateKey(ctx context.Context, provider, id string) (KeyStatus, error) {
	return n.onKey(provider, "rotating", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.RotateKey(ctx, id) })
}

// EnableKey lets a disabled master key wrap and unwrap again. File systems
// that could not be opened without it are opened.
func (n *Node) EnableKey(ctx context.Context, provider, id string) (KeyStatus, error) {
	s, err := n.onKey(provider, "enabling", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.EnableKey(ctx, id) })
	if err == nil {
		n.reopenSoon()
	}
	return s, err
}

// DisableKey ends wrapping and unwrapping until EnableKey. When it returns,
// the file systems concerned neither read nor write. efs.ErrRefused for the one
// that wraps the server's starter key.
func (n *Node) DisableKey(ctx context.Context, provider, id string) (KeyStatus, error) {
	if err := n.refuseForStarter(provider, id); err != nil {
		return KeyStatus{}, fmt.Errorf("disabling a master key: %w", err)
	}
	return n.onKey(provider, "disabling", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.DisableKey(ctx, id) })
}

// ScheduleKeyDeletion disables a master key, as DisableKey does, and has it
// destroyed when wait is over, with whatever it wraps. A *KeyInUseError for
// one that wraps keys, unless force is set; efs.ErrRefused in any case for the
// one that wraps the server's starter key.
func (n *Node) ScheduleKeyDeletion(ctx context.Context, provider, id string, wait time.Duration, force bool) (KeyStatus, error) {
	v, _, err := n.provider(provider)
	if err != nil {
		return KeyStatus{}, err
	}
	if err := n.refuseForStarter(provider, id); err != nil {
		return KeyStatus{}, fmt.Errorf("scheduling the deletion of a master key: %w", err)
	}
	if used := n.concerned(v, provider, id); len(used) > 0 && !force {
		return KeyStatus{}, &KeyInUseError{Provider: provider, ID: id, FileSystems: used}
	}
	return n.onKey(provider, "scheduling the deletion of", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.ScheduleDeletion(ctx, id, wait) })
}

// CancelKeyDeletion keeps a master key that was to be deleted. It is disabled
// until EnableKey.
func (n *Node) CancelKeyDeletion(ctx context.Context, provider, id string) (KeyStatus, error) {
	return n.onKey(provider, "cancelling the deletion of", id, func(k efs.KMS) (efs.KeyInfo, error) { return k.CancelDeletion(ctx, id) })
}

// onKey does something with one master key. Whatever changed about it holds
// for the keys that it wraps when onKey returns.
func (n *Node) onKey(provider, doing, id string, do func(efs.KMS) (efs.KeyInfo, error)) (KeyStatus, error) {
	v, kms, err := n.provider(provider)
	if err != nil {
		return KeyStatus{}, err
	}
	info, err := do(kms)
	if doing != "describing" { // also after an error: nobody knows then what came of it
		v.ring.Invalidate(provider, id)
	}
	if err != nil {
		return KeyStatus{}, fmt.Errorf("%s key %s of KMS %s: %w", doing, id, provider, err)
	}
	return n.keyStatus(v, provider, info), nil
}

func (n *Node) keyStatus(v *vault, provider string, info efs.KeyInfo) KeyStatus {
	info.Provider = provider
	return KeyStatus{KeyInfo: info, FileSystems: n.concerned(v, provider, info.ID)}
}

// concerned names the file systems with keys under a master key.
func (n *Node) concerned(v *vault, provider, id string) []string {
	names := map[efs.ID]string{}
	for _, rec := range v.registry.all() {
		names[rec.ID] = rec.Name
	}
	out := []string{}
	for _, fs := range v.ring.Concerned(provider, id) {
		out = append(out, cmp.Or(names[fs], fs.String()))
	}
	slices.Sort(out)
	return out
}
