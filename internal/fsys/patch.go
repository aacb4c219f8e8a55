package fsys

import (
	"context"
	"maps"

	"github.com/efs-project/efs"
)

// Patch changes what is kept with a file or directory, not its contents. The
// version grows by one and the ETag is new: type and metadata are part of what
// a reader gets, so a cached answer must not outlive them.
func (fs *FS) Patch(ctx context.Context, path string, o PatchOptions) (_ efs.Entry, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Patch")
	defer func() { span.EndWith(err) }()
	segs, err := parseEntry(path)
	if err != nil {
		return efs.Entry{}, err
	}
	var after efs.Entry
	err = retry(func() error {
		s, err := fs.found(ctx, segs)
		if err != nil {
			return err
		}
		if err := o.Cond.check(s.entry); err != nil {
			return err
		}
		after = o.apply(*s.entry)
		if err := checkAttributes(after.Type, after.Meta, after.Mode); err != nil {
			return err
		}
		t := fs.begin(o.Who)
		t.pin(s)
		t.at = s.tokens
		t.entry(s.unitOf(), &s.key, &after)
		t.rewrite(s.entry, s.key[:], s.version)
		t.changeIn(s.unitOf(), &efs.Change{Op: efs.OpPatch, Path: s.path(), Dir: s.key.dir(), Before: s.entry, After: &after})
		_, err = t.commit(ctx)
		return err
	})
	return after, err
}

func (o *PatchOptions) apply(e efs.Entry) efs.Entry {
	e.Version++
	e.ETag = newETag()
	if o.Type != nil {
		e.Type = *o.Type
	}
	if o.Meta != nil {
		e.Meta = maps.Clone(e.Meta)
		if e.Meta == nil {
			e.Meta = map[string]string{}
		}
		for k, v := range o.Meta {
			if v == nil {
				delete(e.Meta, k)
			} else {
				e.Meta[k] = *v
			}
		}
	}
	if o.Modified != nil {
		e.Modified = o.Modified.UnixMicro()
	}
	if o.Mode != nil {
		e.Mode = *o.Mode
	}
	return e
}
