package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// starterFile keeps the starter key wrapped by a KMS, in the server's
// directory. It is readable but for the key.
const (
	starterFile   = "starter.json"
	starterFormat = 1
)

type starterDoc struct {
	Format int              `json:"format"`
	Root   efs.ID           `json:"root"`
	Keys   []wrappedStarter `json:"keys"` // one; two while the starter key is rotated
}

type wrappedStarter struct {
	Generation uint32 `json:"generation"`
	Provider   string `json:"provider"`
	KeyID      string `json:"kms_key_id"`
	Wrapped    []byte `json:"wrapped"`
}

func (w wrappedStarter) binding(root efs.ID) efs.Binding {
	return efs.Binding{Purpose: "starter", FS: root, Epoch: int(w.Generation)}
}

func (n *Node) starterPath() string { return filepath.Join(n.cfg.serverDir(), starterFile) }

// readStarter returns what starter.json says; efs.ErrNotFound if there is none.
func (n *Node) readStarter() (d starterDoc, err error) {
	b, err := os.ReadFile(n.starterPath())
	if errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("%s: %w", n.starterPath(), efs.ErrNotFound)
	}
	if err != nil {
		return d, err
	}
	if json.Unmarshal(b, &d) == nil && d.Format > starterFormat {
		return d, fmt.Errorf("%s has format %d, this program knows %d: it was written by a newer EFS, start that one", n.starterPath(), d.Format, starterFormat)
	}
	d = starterDoc{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil || d.Format != starterFormat || d.Root.IsZero() {
		return d, fmt.Errorf("%w: %s is not what EFS writes: put it back from a backup, or use `efsctl unseal`", efs.ErrDamaged, n.starterPath())
	}
	return d, nil
}

func (n *Node) writeStarter(d starterDoc) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(n.starterPath(), append(b, '\n'), 0o600)
}

// starterKMS returns the KMS and the master key of the configuration.
func (n *Node) starterKMS() (provider string, kms efs.KMS, id string, err error) {
	provider, id, _ = strings.Cut(n.cfg.StarterKMS, "/")
	kms, ok := n.cfg.Providers[provider]
	if !ok || id == "" {
		return "", nil, "", fmt.Errorf("%w: starter.kms is %q: it is PROVIDER/KEY, with a KMS of this server's configuration", efs.ErrBadInput, n.cfg.StarterKMS)
	}
	return provider, kms, id, nil
}

func (n *Node) kmsContext(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := n.cfg.KMS.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	return context.WithTimeout(ctx, timeout)
}

// keepStarter has the KMS wrap a starter key and keeps that in starter.json,
// durably, beside what is there for this root: before the key is in force.
func (n *Node) keepStarter(ctx context.Context, key *secret.Key, root efs.ID, generation uint32) error {
	if n.cfg.StarterKMS == "" {
		return nil
	}
	w, err := n.wrapStarter(ctx, key, root, generation)
	if err != nil {
		return fmt.Errorf("having the KMS wrap the starter key: %w", err)
	}
	d, err := n.readStarter()
	if err != nil && !errors.Is(err, efs.ErrNotFound) {
		return err
	}
	if d.Root != root {
		d.Keys = nil // of an init that was cut off
	}
	d.Format, d.Root = starterFormat, root
	d.Keys = slices.DeleteFunc(d.Keys, func(k wrappedStarter) bool { return k.Generation == generation })
	d.Keys = append(d.Keys, w)
	return n.writeStarter(d)
}

// wrapStarter wraps a starter key and makes sure that it unwraps.
func (n *Node) wrapStarter(ctx context.Context, key *secret.Key, root efs.ID, generation uint32) (w wrappedStarter, err error) {
	provider, kms, id, err := n.starterKMS()
	if err != nil {
		return w, err
	}
	ctx, cancel := n.kmsContext(ctx)
	defer cancel()
	w = wrappedStarter{Generation: generation, Provider: provider, KeyID: id}
	plain := make([]byte, secret.Size)
	defer secret.Wipe(plain)
	if err := key.With(func(b []byte) { copy(plain, b) }); err != nil {
		return w, err
	}
	if w.Wrapped, err = kms.Wrap(ctx, id, plain, w.binding(root)); err != nil {
		return w, err
	}
	back, err := n.unwrapStarter(ctx, root, w)
	if err != nil {
		return w, err
	}
	defer back.Destroy()
	if !back.Equal(key) {
		return w, fmt.Errorf("%w: KMS %s does not give back what it wrapped", efs.ErrDamaged, provider)
	}
	return w, nil
}

func (n *Node) unwrapStarter(ctx context.Context, root efs.ID, w wrappedStarter) (*secret.Key, error) {
	kms, ok := n.cfg.Providers[w.Provider]
	if !ok {
		return nil, fmt.Errorf("%w: the starter key is wrapped by KMS %q, which this server's configuration does not name", efs.ErrNotFound, w.Provider)
	}
	ctx, cancel := n.kmsContext(ctx)
	defer cancel()
	b, err := kms.Unwrap(ctx, w.KeyID, w.Wrapped, w.binding(root))
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: KMS %s does not answer", efs.ErrUnavailable, w.Provider)
		}
		return nil, fmt.Errorf("unwrapping the starter key with key %s of KMS %s: %w", w.KeyID, w.Provider, err)
	}
	return secret.NewKey(b)
}

// tidyStarter takes from starter.json what is not of the starter key in force.
// That key is not kept there if it was not given to the KMS.
func (n *Node) tidyStarter(generation uint32) error {
	d, err := n.readStarter()
	if errors.Is(err, efs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Keys = slices.DeleteFunc(d.Keys, func(k wrappedStarter) bool { return k.Generation != generation })
	if len(d.Keys) == 0 {
		return atomicfile.Remove(n.starterPath())
	}
	return n.writeStarter(d)
}

// refuseForStarter refuses to take away a master key that wraps the starter
// key of this root: the next start could not open the root, and a sealed server
// could not give the key back. efs.ErrRefused.
func (n *Node) refuseForStarter(provider, id string) error {
	d, err := n.readStarter()
	if errors.Is(err, efs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(d.Keys, func(k wrappedStarter) bool { return k.Provider == provider && k.KeyID == id }) {
		return nil
	}
	return fmt.Errorf("%w: key %s/%s wraps the starter key of this server, which could not open the root at its next start: "+
		"name another key in starter.kms, restart and run `efsctl rotate-starter-key`, or give it --passphrase", efs.ErrRefused, provider, id)
}

// rewrapStarter wraps the starter key anew if a master key wraps it.
func (n *Node) rewrapStarter(ctx context.Context, provider, id string) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	d, err := n.readStarter()
	if err != nil || n.cfg.StarterKMS != provider+"/"+id {
		return nil
	}
	for i, w := range d.Keys {
		if w.Provider != provider || w.KeyID != id {
			continue
		}
		key, err := n.unwrapStarter(ctx, d.Root, w)
		if err != nil {
			return err
		}
		d.Keys[i], err = n.wrapStarter(ctx, key, d.Root, w.Generation)
		key.Destroy()
		if err != nil {
			return err
		}
	}
	return n.writeStarter(d)
}

// unsealByKMS asks the KMS for the starter key until it has it, or until
// somebody gave it.
func (n *Node) unsealByKMS(ctx context.Context) {
	for wait := time.Second; n.State() == StateSealed; wait = min(2*wait, 30*time.Second) {
		err := n.tryKMS(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		said := err.Error()
		if last := n.kmsSays.Swap(&said); last == nil || *last != said {
			n.log.Warn("sealed: the KMS does not give the starter key; it is asked again and again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

// tryKMS opens the root with the key that the KMS gives.
func (n *Node) tryKMS(ctx context.Context) error {
	d, err := n.readStarter()
	if err != nil {
		return err
	}
	root, generation, err := starter.RootInfo(n.cfg.serverDir())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Keys, func(k wrappedStarter) bool { return k.Generation == generation })
	if d.Root != root || i < 0 {
		return fmt.Errorf("%w: %s is not of this root, or of an older starter key: put it back from a backup, or use `efsctl unseal`",
			efs.ErrWrongKey, n.starterPath())
	}
	key, err := n.unwrapStarter(ctx, root, d.Keys[i])
	if err != nil {
		return err
	}
	for !n.admin.TryLock() { // Close holds it while it waits for this
		select {
		case <-ctx.Done():
			key.Destroy()
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	defer n.admin.Unlock()
	if n.State() != StateSealed {
		key.Destroy()
		return nil
	}
	if err := n.unlock(context.WithoutCancel(ctx), &starter.Found{Key: key, From: "KMS " + d.Keys[i].Provider}); err != nil {
		return err
	}
	return n.tidyStarter(generation)
}

// kmsTrouble is what a sealed root waits for; "" if it does not wait for a KMS.
func (n *Node) kmsTrouble() string {
	if said := n.kmsSays.Load(); said != nil {
		return " (waiting for its KMS: " + *said + ")"
	}
	return ""
}
