package node

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/guard"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/session"
	"github.com/efs-project/efs/internal/starter"
)

// vault is everything that the starter key opens.
type vault struct {
	box       *starter.Box
	kms       *local.KMS
	providers map[string]*guard.KMS // the local KMS and those of the configuration, by name
	ring      *keyring.Keyring
	sessions  *session.Manager
	registry  *registry
	tls       *serverTLS
	audit     *audit.Log        // nil: none is kept
	sinks     []audit.HeadSink  // of its heads
	realm     *access.Directory // the server\'s own: administrators, grants on keys
}

// openVault opens what the Box holds, and makes what a new one lacks. It
// closes what it opened when it fails, but not the Box.
func (n *Node) openVault(box *starter.Box) (*vault, error) {
	v := &vault{box: box}
	if err := n.fill(v); err != nil {
		return nil, errors.Join(err, v.closeKeys())
	}
	return v, nil
}

func (n *Node) fill(v *vault) (err error) {
	if v.registry, err = openRegistry(v.box); err != nil {
		return err
	}
	if v.kms, err = local.OpenWith(v.box, local.Options{Logger: n.log, Clock: n.clock}); err != nil {
		return fmt.Errorf("opening the local KMS: %w", err)
	}
	if err := defaultKey(v.kms); err != nil {
		return err
	}
	if _, ok := n.cfg.Providers[local.Name]; ok {
		return fmt.Errorf("%w: %q is the KMS that every server has: no other provider can be called so", efs.ErrBadInput, local.Name)
	}
	all := map[string]efs.KMS{local.Name: v.kms}
	maps.Copy(all, n.cfg.Providers)
	v.providers = map[string]*guard.KMS{}
	for name, kms := range all {
		v.providers[name] = n.guarded(name, kms)
		all[name] = v.providers[name]
	}
	opts := keyring.Options{KeyTTL: n.cfg.KMS.KeyTTL, OutageGrace: n.cfg.KMS.OutageGrace, KMSTimeout: n.cfg.KMS.Timeout, Logger: n.log, Clock: n.clock}
	if v.ring, err = keyring.Open(n.cfg.keysPath(), all, opts); err != nil {
		return fmt.Errorf("opening the keyring: %w", err)
	}
	if err := n.openAudit(v); err != nil {
		return err
	}
	if v.sessions, err = n.newSessions(v.box); err != nil {
		return err
	}
	if err := n.openRealm(v); err != nil {
		return err
	}
	v.tls, err = openServerTLS(&n.cfg, v.box, n.clock)
	return err
}

// defaultKey makes the master key that the default policy names.
func defaultKey(kms *local.KMS) error {
	ctx := context.Background() // the local KMS waits for nothing but the disk
	id := efs.DefaultPolicy().Stages[0].KeyID
	_, err := kms.DescribeKey(ctx, id)
	if errors.Is(err, efs.ErrNotFound) {
		_, err = kms.CreateKey(ctx, id, efs.KeyOptions{Description: "of the default policy"})
	}
	if errors.Is(err, efs.ErrExists) {
		return nil // deleted on purpose: whoever still names it is told so
	}
	if err != nil {
		return fmt.Errorf("the local KMS's master key %q: %w", id, err)
	}
	return nil
}

const sessionKeyName = "jwt"

func (n *Node) newSessions(box *starter.Box) (*session.Manager, error) {
	key, err := box.Get(sessionKeyName)
	if errors.Is(err, efs.ErrNotFound) {
		key = session.NewKey()
		err = box.Put(sessionKeyName, key)
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs sessions: %w", err)
	}
	return session.New(session.Config{
		Instance: n.instance,
		Keys:     [][]byte{key},
		Users:    n.sessionUsers,
		Clock:    n.clock,
	})
}

// sessionUsers is what a handshake asks; it must not hand out a typed nil.
func (n *Node) sessionUsers(fs string) session.Users {
	if users, err := n.Users(fs); err == nil {
		return users
	}
	return nil
}

func (v *vault) closeKeys() error {
	err := v.closeAudit()
	if v.ring != nil {
		err = errors.Join(err, v.ring.Close())
	}
	for _, g := range v.providers {
		err = errors.Join(err, g.Close())
	}
	if v.kms != nil {
		v.kms.Close()
	}
	return err
}

func (v *vault) close() error {
	err := v.closeKeys()
	v.box.Close()
	return err
}
