package fsys

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
)

// used counts what was sealed and opened under one version of the policy, which
// says by which algorithms.
type used struct {
	seals, sealed, opens, opened atomic.Uint64
	stages                       atomic.Pointer[[]efs.StagePolicy] // nil: not known yet
}

// usage keeps a used for each version that was met.
type usage struct{ versions sync.Map }

// of returns what counts for a version.
func (u *usage) of(version int) *used {
	if c, ok := u.versions.Load(version); ok {
		return c.(*used)
	}
	c, _ := u.versions.LoadOrStore(version, new(used))
	return c.(*used)
}

// sealedOne counts a content that was sealed.
func (c *used) sealedOne(bytes int64) {
	c.seals.Add(1)
	c.sealed.Add(uint64(bytes))
}

// openedBytes counts what was read of a content.
func (c *used) openedBytes(n int64) {
	if n > 0 {
		c.opened.Add(uint64(n))
	}
}

// CipherUse is what one algorithm did since the file system was opened, for
// contents. A content of two stages was sealed, and is opened, by both.
type CipherUse struct {
	Algorithm   string // as policies name it
	Seals       uint64 // contents sealed
	SealedBytes uint64 // of their plaintexts
	Opens       uint64 // contents opened, but for those that a cache had
	OpenedBytes uint64 // read of their plaintexts
}

// Ciphers returns what each algorithm did, by name. The keys are needed only
// when an older version of the policy is met for the first time: being asked
// again and again keeps none of them alive.
func (fs *FS) Ciphers(ctx context.Context) ([]CipherUse, error) {
	now := fs.policy.Load()
	fs.usage.of(now.Version).stages.CompareAndSwap(nil, &now.Stages)
	if err := fs.resolveStages(ctx); err != nil {
		return nil, err
	}
	by := map[string]*CipherUse{}
	fs.usage.versions.Range(func(_, v any) bool {
		c := v.(*used)
		stages := c.stages.Load()
		if stages == nil { // met just now
			return true
		}
		for _, st := range *stages {
			u := by[st.Algorithm]
			if u == nil {
				u = &CipherUse{Algorithm: st.Algorithm}
				by[st.Algorithm] = u
			}
			u.Seals += c.seals.Load()
			u.SealedBytes += c.sealed.Load()
			u.Opens += c.opens.Load()
			u.OpenedBytes += c.opened.Load()
		}
		return true
	})
	out := make([]CipherUse, 0, len(by))
	for _, u := range by {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b CipherUse) int { return strings.Compare(a.Algorithm, b.Algorithm) })
	return out, nil
}

// resolveStages finds out the stages of versions that were met, where they are
// not known yet.
func (fs *FS) resolveStages(ctx context.Context) error {
	unknown := false
	fs.usage.versions.Range(func(_, v any) bool {
		unknown = v.(*used).stages.Load() == nil
		return !unknown
	})
	if !unknown {
		return nil
	}
	history, err := fs.PolicyHistory(ctx)
	if err != nil {
		return err
	}
	for i := range history {
		fs.usage.of(history[i].Version).stages.CompareAndSwap(nil, &history[i].Stages)
	}
	return nil
}
