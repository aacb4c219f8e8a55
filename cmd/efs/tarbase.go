package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/mirror"
	"github.com/efs-project/efs/internal/syncstate"
)

// An incremental archive removes what was removed, which is right only over what
// the archive before it restored: anywhere else it deletes what it does not
// know. So what was restored where is remembered, beside what cp --sync
// remembers.

// base is what a directory was restored from, and nothing else was in it.
type base struct {
	Target   string `json:"target"`
	FSID     string `json:"fs_id"`
	Path     string `json:"path"`
	Sequence uint64 `json:"sequence"`
}

// basis is the memory of one target.
type basis struct {
	file   string
	target string
	fresh  bool // there was nothing in it
	have   base // zero: nothing is known
}

// basis finds out what the directory to restore to holds.
func (a *app) basis(ctx context.Context, f *tarFlags) (*basis, error) {
	b := &basis{}
	var err error
	if f.fs != "" {
		c, err := a.session(ctx, f.fs)
		if err != nil {
			return nil, err
		}
		b.target = mirror.RemotePair(c.URL(), c.Bucket(), f.to)
		if b.fresh, err = remoteIsEmpty(ctx, c, f.to); err != nil {
			return nil, err
		}
	} else {
		if b.target, err = mirror.LocalPair(f.dir); err != nil {
			return nil, err
		}
		all, err := os.ReadDir(f.dir)
		b.fresh = errors.Is(err, os.ErrNotExist) || err == nil && len(all) == 0
	}
	dir, err := syncstate.Dir()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(b.target))
	b.file = filepath.Join(filepath.Dir(dir), "tar", hex.EncodeToString(sum[:16])+".json")
	if text, err := os.ReadFile(b.file); err == nil {
		if json.Unmarshal(text, &b.have) != nil || b.have.Target != b.target {
			b.have = base{}
		}
	}
	return b, nil
}

func remoteIsEmpty(ctx context.Context, c *client.Client, path string) (bool, error) {
	for _, err := range c.List(ctx, "/"+strings.Trim(path, "/"), client.ListOptions{PageSize: 1}) {
		if errors.Is(err, client.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
	return true, nil
}

// fits refuses to put an incremental archive over something else than what the
// archive before it restored.
func (b *basis) fits(i archive.Info) error {
	switch {
	case i.Since == 0 && i.FSID != "", b.fresh, b.precedes(i):
		return nil
	}
	known := "nothing is known of it"
	if b.have.FSID != "" {
		known = fmt.Sprintf("it holds change %d of %s, file system %s", b.have.Sequence, b.have.Path, b.have.FSID)
	}
	return fmt.Errorf("an incremental archive, of what changed since change %d of %s, file system %s, removes what was removed: "+
		"it goes over what the archive before it restored. As to the target, %s: restore into a new directory, or --force", i.Since, i.Path, i.FSID, known)
}

// precedes reports whether the target holds what the archive before i restored.
func (b *basis) precedes(i archive.Info) bool {
	return !b.fresh && i.FSID != "" && b.have.FSID == i.FSID && b.have.Path == i.Path && b.have.Sequence == i.Since
}

// begin forgets what the target held, unless an incremental archive goes over
// it, which can be put there again after it broke off.
func (b *basis) begin(i archive.Info) error {
	if i.Since > 0 && b.precedes(i) || b.have == (base{}) {
		return nil
	}
	return atomicfile.Remove(b.file)
}

// done remembers that the target is what the archive was made of.
func (b *basis) done(i archive.Info) error {
	if i.Since == 0 && !b.fresh || i.Since > 0 && !b.precedes(i) {
		return nil // there may be more in it
	}
	text, err := json.Marshal(base{b.target, i.FSID, i.Path, i.Sequence})
	if err == nil {
		err = atomicfile.MkdirAll(filepath.Dir(b.file), 0o700)
	}
	if err == nil {
		err = atomicfile.Write(b.file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remembering what was restored: %w", err)
	}
	return nil
}
