package fsys

import (
	"context"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// SetPolicy makes p the policy that new contents are sealed under, and returns
// it with its new version. p.Version is the version that p was made from: if
// another has been set meanwhile, efs.ErrConflict. What was written before
// stays as it is, and readable.
//
// A policy that does not hold together is efs.ErrBadInput. Where its keys come
// from elsewhere, the providers are asked first, and their answer is returned:
// efs.ErrNotFound, efs.ErrRefused, efs.ErrUnavailable. After any error the
// policy is as it was, but for efs.ErrStopped, after which that is unknown; on
// success it is durable, in the history, and anchored.
//
// The steps, of which the second is there only if the sources of keys change:
//
//  1. The policy that is intended is committed as a record of its own.
//  2. The keyring makes an epoch under the new sources, all at once.
//  3. The policy is committed, and the intention deleted.
//
// Killed after the first, the next start finds the keys as they were and drops
// the intention; after the second, it does the third.
func (fs *FS) SetPolicy(ctx context.Context, who Who, p efs.Policy) (_ efs.Policy, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.SetPolicy")
	defer func() { span.EndWith(err) }()
	if err := fs.ready(); err != nil {
		return efs.Policy{}, err
	}
	fs.policies.Lock()
	defer fs.policies.Unlock()
	if err := fs.finishPolicy(ctx); err != nil {
		return efs.Policy{}, err
	}
	old := fs.Policy()
	if p.Version != old.Version {
		return old, fmt.Errorf("%w: the policy is at version %d, not %d: look at it again", efs.ErrConflict, old.Version, p.Version)
	}
	if p.FanOut != old.FanOut {
		return old, fmt.Errorf("%w: fan_out stays as it was made: contents lie where it put them; make a file system with another and copy into it", efs.ErrBadInput)
	}
	if err := CheckPolicy(p); err != nil {
		return old, err
	}
	if samePolicy(p, old) {
		return old, nil
	}
	p.Version++
	next := &policyRecord{Policy: p, Changed: fs.now(), User: who.User}
	if !sameSources(p.Stages, old.Stages) {
		if err := fs.restage(ctx, next); err != nil {
			return old, err
		}
	}
	if err := fs.setRecovery(ctx, p.Recovery); err != nil {
		return old, err
	}
	// Once the keys are others, the policy follows whatever becomes of ctx.
	if err := fs.commitPolicy(context.WithoutCancel(ctx), next); err != nil {
		fs.report("sealing the keys to the former recovery recipient", fs.setRecovery(context.WithoutCancel(ctx), old.Recovery))
		return old, err
	}
	return p, nil
}

func samePolicy(a, b efs.Policy) bool {
	stages := slices.Equal(a.Stages, b.Stages)
	a.Stages, b.Stages = nil, nil
	return stages && a.Version == b.Version && a.Compression == b.Compression && a.Padding == b.Padding &&
		a.InlineLimit == b.InlineLimit && a.SegmentSize == b.SegmentSize && a.FanOut == b.FanOut && a.ErasureUnit == b.ErasureUnit &&
		a.Recovery == b.Recovery
}

// sameSources reports whether two policies have their keys from the same
// places, by stage.
func sameSources(a, b []efs.StagePolicy) bool {
	return slices.EqualFunc(a, b, func(a, b efs.StagePolicy) bool {
		return a.Provider == b.Provider && a.KeyID == b.KeyID
	})
}

// restage notes what is intended and makes an epoch under next's sources of
// keys. If that fails nothing is intended any more.
func (fs *FS) restage(ctx context.Context, next *policyRecord) error {
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, intendedKey(), next)
	if _, err := t.commit(ctx); err != nil {
		return fmt.Errorf("noting the intended policy: %w", err)
	}
	if _, err := fs.o.Keys.Restage(ctx, next.Stages); err != nil && !fs.sealsWith(next.Stages) {
		t := fs.begin(Who{})
		t.delete(efs.SpaceMeta, intendedKey())
		if _, err := t.commit(context.WithoutCancel(ctx)); err != nil {
			fs.report("dropping an intended policy", err) // the next start does it
		}
		return fmt.Errorf("keys of the new policy: %w", err)
	}
	fs.intended = next
	return nil
}

// commitPolicy puts next at the end of the history, and into force.
func (fs *FS) commitPolicy(ctx context.Context, next *policyRecord) error {
	key := policyKey(next.Version)
	t := fs.begin(Who{User: next.User})
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Key: efs.Key{Space: efs.SpaceMeta, Bytes: key}})
	t.put(efs.SpaceMeta, key, next)
	t.delete(efs.SpaceMeta, intendedKey())
	if fs.policy.Load().ErasureUnit != next.ErasureUnit {
		t.delete(efs.SpaceMeta, convertedKey())
		fs.erasing.again.Store(true)
	}
	t.change(&efs.Change{Op: efs.OpAccess, Path: fmt.Sprintf("policy/%d", next.Version)})
	c, err := t.commit(ctx)
	if err != nil {
		return fmt.Errorf("setting the policy: %w", err)
	}
	p := next.Policy
	fs.erasing.gate.Lock() // what is made under the pattern of erasure units before is made
	fs.policy.Store(&p)
	fs.erasing.gate.Unlock()
	fs.intended = nil
	fs.changed()
	fs.report("anchoring the policy", fs.anchorAccess(ctx, c.Revision))
	fs.report("beginning to make erasure units", fs.wantUnitsLocked(ctx))
	return nil
}

// finishPolicy sets a policy whose keys are there already, but whose
// transaction failed. The caller holds fs.policies.
func (fs *FS) finishPolicy(ctx context.Context) error {
	if fs.intended == nil {
		return nil
	}
	return fs.commitPolicy(context.WithoutCancel(ctx), fs.intended)
}

// resumePolicy does or drops what the last run intended.
func (fs *FS) resumePolicy(ctx context.Context) error {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: intendedKey()})
	if err != nil || recs[0].Version == 0 {
		return err
	}
	next := new(policyRecord)
	if err := fs.open(efs.SpaceMeta, intendedKey(), recs[0].Sealed, next); err != nil {
		return fmt.Errorf("intended policy of file system '%s': %w", fs.o.Name, err)
	}
	if fs.sealsWith(next.Stages) {
		fs.log.Info("setting the policy that was being set when the server ended", "version", next.Version)
		return fs.commitPolicy(ctx, next)
	}
	t := fs.begin(Who{})
	t.delete(efs.SpaceMeta, intendedKey())
	_, err = t.commit(ctx)
	return err
}
