package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/record"
)

// names checks that the sorted names of every large directory are those of its
// entries. One problem is reported a directory.
func (c *checker) names() error {
	var after []byte
	for {
		recs, err := c.fs.o.Index.Scan(c.ctx, efs.SpaceNames, nil, after, 1)
		if err != nil || len(recs) == 0 {
			return err
		}
		key := recs[0].Key
		if len(key) <= 16 {
			c.found(Problem{Kind: ProblemNames, ID: fmt.Sprintf("%x", key), Detail: "a key of the wrong length",
				Remedy: "the index was altered: restore it from a backup"})
			after = key
			continue
		}
		dir := efs.ID(key[:16])
		if err := c.namesOf(dir); err != nil {
			return err
		}
		after = append(dir[:], 0xff) // no record of a directory sorts after this
	}
}

func (c *checker) namesOf(dir efs.ID) error {
	root, _, err := c.fs.namesRoot(c.ctx, dir)
	detail := ""
	switch {
	case err == nil && root == nil:
		detail, err = c.namesLeft(dir)
	case err == nil && !root.Building:
		detail, err = c.compareNames(dir)
	}
	if isForgotten(err) {
		return c.leftNames(dir)
	}
	if errors.Is(err, efs.ErrDamaged) {
		detail, err = err.Error(), nil
	}
	if err != nil || detail == "" {
		return err
	}
	p := Problem{Kind: ProblemNames, ID: dir.String(), Detail: detail, Remedy: "run fsck with --repair"}
	if segs, err := c.fs.climb(c.ctx, dir); err == nil {
		p.Path = join(segs)
	}
	if c.o.Repair {
		if err := c.fs.rebuildNames(c.ctx, dir); err != nil {
			return err
		}
		p.Repaired = true
	}
	c.found(p)
	return nil
}

// namesLeft looks for names that no root record leads to. Those of a deleted
// directory are deleted with it.
func (c *checker) namesLeft(dir efs.ID) (string, error) {
	gone, err := c.isDetached(dir)
	if err != nil || gone {
		return "", err
	}
	recs, err := c.fs.o.Index.Scan(c.ctx, efs.SpaceNames, dir[:], nil, 1)
	if err != nil || len(recs) == 0 || bytes.Equal(recs[0].Key, namesRootKey(dir).Bytes) {
		return "", err
	}
	return "names of a directory that is not large, or not there", nil
}

// compareNames says what is wrong with the names of a directory. Each name and
// each entry that seems wrong is looked at again.
func (c *checker) compareNames(dir efs.ID) (detail string, err error) {
	in, err := c.fs.tokensOf(c.ctx, dir)
	if err != nil {
		return "", err
	}
	var tokens []record.Token
	for from := ""; ; {
		page, ok, err := c.fs.tryNames(c.ctx, dir, from, false, scanPage)
		if err != nil || !ok {
			return "", err
		}
		if len(page) == 0 {
			break
		}
		keys := make([]efs.Key, len(page))
		for i, e := range page {
			k, err := c.fs.entryKey(in, dir, e.Name)
			if err != nil {
				return "", err
			}
			keys[i] = efs.Key{Space: efs.SpaceEntries, Bytes: k[:]}
			tokens = append(tokens, record.Token(k[16:]))
		}
		recs, err := c.fs.o.Index.Get(c.ctx, keys...)
		if err != nil {
			return "", err
		}
		for i, e := range page {
			from = sortKey(e.Name, e.Kind)
			if same, err := c.lists(e, from, &recs[i]); err != nil || same {
				continue // one that does not open is reported as an entry
			}
			if detail, err := c.compareName(dir, from, e.Name); err != nil || detail != "" {
				return detail, err
			}
		}
	}
	return c.unlisted(dir, tokens)
}

// unlisted looks for entries of a directory that have none of the tokens.
func (c *checker) unlisted(dir efs.ID, tokens []record.Token) (detail string, err error) {
	order := func(a, b record.Token) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(tokens, order)
	err = c.fs.scan(c.ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		if detail != "" || len(r.Key) != len(entryKey{}) {
			return nil
		}
		if _, ok := slices.BinarySearchFunc(tokens, record.Token(r.Key[16:]), order); ok {
			return nil
		}
		e, err := c.fs.openEntry(r.Key, r.Sealed)
		if err == nil {
			detail, err = c.compareName(dir, sortKey(e.Name, e.Kind), e.Name)
		}
		if errors.Is(err, efs.ErrDamaged) {
			return nil // reported as an entry
		}
		return err
	})
	return detail, err
}

// compareName compares one listed name with the entry of that name, both as of
// one moment.
func (c *checker) compareName(dir efs.ID, key, name string) (detail string, err error) {
	k, err := c.keyOf(dir, name)
	if err != nil {
		return "", err
	}
	for range maxTries {
		before, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: k[:]})
		if err != nil {
			return "", err
		}
		page, ok, err := c.fs.tryNames(c.ctx, dir, key, true, 1)
		if err != nil || !ok {
			return "", err
		}
		now, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: k[:]})
		if err != nil {
			return "", err
		}
		if now[0].Version != before[0].Version {
			continue
		}
		var e *efs.Entry
		if len(page) > 0 && sortKey(page[0].Name, page[0].Kind) == key {
			e = page[0]
		}
		same, err := c.lists(e, key, &now[0])
		if err != nil || same {
			return "", err
		}
		return "its sorted names are not those of its entries", nil
	}
	return "", errBusy
}

// lists reports whether l, nil for none, is what a listing has under key for
// the entry in a record.
func (c *checker) lists(l *efs.Entry, key string, r *efs.Record) (bool, error) {
	var e *efs.Entry
	if r.Version != 0 {
		var err error
		if e, err = c.fs.openEntry(r.Key, r.Sealed); err != nil {
			return false, err
		}
		if sortKey(e.Name, e.Kind) != key {
			e = nil // a directory where a file was, or the other way round
		}
	}
	if l == nil || e == nil {
		return l == nil && e == nil, nil
	}
	a, err := encodeListed(l)
	if err != nil {
		return false, err
	}
	b, err := encodeListed(e)
	return bytes.Equal(a, b), err
}

// rebuildNames gives up the names of a directory and asks that they be made
// anew from its entries.
func (fs *FS) rebuildNames(ctx context.Context, dir efs.ID) error {
	fs.work.merging.Lock()
	defer fs.work.merging.Unlock()
	if err := fs.dropNames(ctx, dir); err != nil {
		return err
	}
	fs.work.merge.add(dir)
	return nil
}
