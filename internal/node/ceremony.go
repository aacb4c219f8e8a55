package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// shareLife is how long shares of the starter key are remembered after the
// last one.
const shareLife = 15 * time.Minute

// StarterForm says in what form a new starter key is shown: whole, or as so
// many shares of which Threshold give it back. Where a KMS keeps the key,
// nothing is shown unless Show is set or shares are asked for.
type StarterForm struct {
	Shares    int  `json:"shares,omitempty"` // 0: whole
	Threshold int  `json:"threshold,omitempty"`
	Show      bool `json:"show,omitempty"` // for recovery without the KMS
}

func (f StarterForm) whole() bool { return f.Shares == 0 && f.Threshold == 0 }

func (f StarterForm) check() error {
	if f.whole() {
		return nil
	}
	return starter.CheckShares(f.Shares, f.Threshold)
}

// newStarter makes a starter key and what is to be shown of it, which the
// caller wipes.
func (n *Node) newStarter(f StarterForm, root efs.ID, generation uint32) (lines [][]byte, key *secret.Key, err error) {
	text, key, err := starter.Generate()
	if err != nil {
		return nil, nil, fmt.Errorf("making a starter key: %w", err)
	}
	switch {
	case f.whole() && n.cfg.StarterKMS != "" && !f.Show:
		secret.Wipe(text)
		return nil, key, nil
	case f.whole():
		return [][]byte{text}, key, nil
	}
	secret.Wipe(text)
	lines, err = starter.Split(key, root, generation, f.Shares, f.Threshold)
	if err != nil {
		key.Destroy()
		return nil, nil, fmt.Errorf("splitting the starter key: %w", err)
	}
	return lines, key, nil
}

// gathering is what is known of shares that were given one by one.
type gathering struct {
	mu     sync.Mutex
	shares *starter.Gathering // nil: none
	need   int
	until  time.Time
}

// UnsealShare takes one share of the starter key of a sealed root, says how
// many there are and how many are needed, and with the last one opens the
// root. A share that does not belong to those before is refused and leaves
// them. Shares are kept in locked memory, for fifteen minutes after the last.
func (n *Node) UnsealShare(ctx context.Context, text []byte) (have, need int, err error) {
	if err := n.mustBeSealed(); err != nil {
		return 0, 0, err
	}
	have, need, key, err := n.gather(text)
	if err != nil || key == nil {
		return have, need, err
	}
	taken := false
	err = n.unseal(ctx, func() (*starter.Found, error) {
		taken = true
		return &starter.Found{Key: key, From: "shares given to efsctl unseal"}, nil
	})
	if !taken {
		key.Destroy()
	}
	return have, need, err
}

func (n *Node) gather(text []byte) (have, need int, key *secret.Key, err error) {
	g := &n.gathered
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shares != nil && !n.clock().Before(g.until) {
		g.reset()
	}
	if g.shares == nil {
		g.shares = starter.NewGathering(n.cfg.serverDir())
		n.run(n.forgetShares)
	}
	have, need, key, err = g.shares.Add(text)
	g.need = need
	if err == nil {
		g.until = n.clock().Add(shareLife)
	}
	if g.shares.Have() == 0 {
		g.reset()
	}
	return have, need, key, err
}

// ResetUnseal forgets the shares that were given, and says how many.
func (n *Node) ResetUnseal() (forgotten int) {
	g := &n.gathered
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shares != nil {
		forgotten = g.shares.Have()
	}
	g.reset()
	return forgotten
}

// reset is called with mu held.
func (g *gathering) reset() {
	if g.shares != nil {
		g.shares.Reset()
	}
	g.shares, g.need = nil, 0
}

// forgetShares waits until the shares that are there have lived their life.
func (n *Node) forgetShares(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.ResetUnseal()
			return
		case <-tick.C:
		}
		n.gathered.mu.Lock()
		if n.gathered.shares != nil && !n.clock().Before(n.gathered.until) {
			n.gathered.reset()
			n.log.Info("the shares of the starter key that were given are forgotten: the others did not come in time")
		}
		gone := n.gathered.shares == nil
		n.gathered.mu.Unlock()
		if gone {
			return
		}
	}
}

// shareProgress tells how many shares there are of how many; "" for none.
func (n *Node) shareProgress() string {
	g := &n.gathered
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shares == nil {
		return ""
	}
	return fmt.Sprintf(" (%d of %d shares were given)", g.shares.Have(), g.need)
}

func (n *Node) mustBeSealed() error {
	switch n.State() {
	case StateSealed:
		return nil
	case StateWaiting:
		return fmt.Errorf("the starter key of this root: %w; it was never initialised: `efsctl init` makes one", efs.ErrNotFound)
	default:
		return fmt.Errorf("this root is not sealed: %w", efs.ErrRefused)
	}
}

// StarterRotation asks for another starter key.
type StarterRotation struct {
	StarterForm
	Key        bool   // a key, also where there was a passphrase
	Passphrase []byte // a passphrase instead of a key; wiped
}

// RotateStarter puts the root under another starter key, while it is in
// service, and returns its number. The new key, or its shares, are handed to
// show once, before anything is sealed under it. An error that says so leaves
// the new key in force; every other leaves the old one. efs.ErrSealed,
// efs.ErrBadInput, efs.ErrPrecondition (the root has a passphrase, and neither
// a new one nor a key was asked for).
func (n *Node) RotateStarter(ctx context.Context, r StarterRotation, show func(lines [][]byte) error) (generation uint32, err error) {
	defer secret.Wipe(r.Passphrase)
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return 0, err
	}
	v := n.secrets()
	if err := r.check(); err != nil {
		return 0, err
	}
	was, err := v.box.Passphrase()
	if err != nil {
		return 0, fmt.Errorf("rotating the starter key: %w", err)
	}
	if was && len(r.Passphrase) == 0 && !r.Key && r.Shares == 0 {
		return 0, fmt.Errorf("%w: this root has a passphrase: give --passphrase for a new one, or --key or --shares for a key in its place", efs.ErrPrecondition)
	}
	found := &starter.Found{}
	if len(r.Passphrase) > 0 {
		found, err = starter.NewPassphrase(r.Passphrase)
	} else {
		found.Key, err = n.showStarter(ctx, v.box, r.StarterForm, show)
	}
	if err != nil {
		return 0, err
	}
	if err = v.box.Rotate(found.Key, found.KDF); err != nil && !errors.Is(err, starter.ErrNotErased) {
		found.Key.Destroy()
		return 0, fmt.Errorf("rotating the starter key: %w. The old key is still in force; forget the new one", err)
	}
	err = errors.Join(err, n.tidyStarter(v.box.Generation()))
	n.log.Info("starter key rotated", "number", v.box.Generation())
	if err != nil {
		err = fmt.Errorf("rotating the starter key: %w", err)
	}
	return v.box.Generation(), err
}

// showStarter makes a starter key that is kept or shown, or both, but not in
// force.
func (n *Node) showStarter(ctx context.Context, box *starter.Box, f StarterForm, show func([][]byte) error) (*secret.Key, error) {
	lines, key, err := n.newStarter(f, box.RootID(), box.Generation()+1)
	if err != nil {
		return nil, err
	}
	defer secret.WipeAll(lines)
	if err = n.keepStarter(ctx, key, box.RootID(), box.Generation()+1); err == nil && len(lines) > 0 {
		err = show(lines)
	}
	if err != nil {
		key.Destroy()
		return nil, fmt.Errorf("keeping or showing the new starter key, which did not come into force: %w", err)
	}
	return key, nil
}
