package server

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
)

// patchDoc is a JSON merge patch (RFC 7396) of what a PATCH may change: a
// member that is absent stays, null takes away.
type patchDoc struct {
	Type     optional[string]             `json:"type"`
	Meta     optional[map[string]*string] `json:"meta"`
	Modified optional[time.Time]          `json:"modified"`
	Mode     optional[string]             `json:"mode"`
}

// optional tells an absent member from null from a value.
type optional[T any] struct {
	given, null bool
	value       T
}

// UnmarshalJSON is called for members that are given.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.given = true
	if bytes.Equal(b, []byte("null")) {
		o.null = true
		return nil
	}
	return json.Unmarshal(b, &o.value)
}

// patch changes the type, the metadata, the time or the mode of an entry, not its
// contents.
func (x *exchange) patch(t target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	if err := x.may(access.Write, t.path); err != nil {
		return err
	}
	if err := notRoot(t); err != nil {
		return err
	}
	var doc patchDoc
	if err := x.readJSON(&doc, x.s.limits.PatchBodyBytes, "application/merge-patch+json", "application/json"); err != nil {
		return err
	}
	if err := x.mustBeDir(t); err != nil {
		return err
	}
	o := fsys.PatchOptions{Who: x.by()}
	var err error
	if o.Cond, err = x.writeCond(t.path); err != nil {
		return err
	}
	if err := doc.scalars(&o); err != nil {
		return err
	}
	if doc.Meta.given {
		if o.Meta, err = x.mergeMeta(t.path, doc.Meta); err != nil {
			return err
		}
	}
	e, err := x.fs.Patch(x.r.Context(), t.path, o)
	if err != nil {
		return writeProblem(err)
	}
	x.object = e.File
	if !x.rights.May(access.Read, t.path) {
		e.DigestKind, e.Digest = 0, nil // it tells of contents that the caller has not sent
	}
	return x.confirm(t.path, &e, false)
}

func (d *patchDoc) scalars(o *fsys.PatchOptions) error {
	if d.Type.given {
		if !validType(d.Type.value) {
			return badJSON.with("type must be a content type of at most 255 printable ASCII characters, or null.")
		}
		o.Type = &d.Type.value
	}
	if d.Modified.given {
		if d.Modified.null || !validTime(d.Modified.value) {
			return badJSON.with("modified must be a time such as 2026-01-31T12:00:00Z. It cannot be taken away.")
		}
		o.Modified = &d.Modified.value
	}
	if d.Mode.given {
		mode := uint32(0)
		if !d.Mode.null {
			var ok bool
			if mode, ok = parseMode(d.Mode.value); !ok {
				return badJSON.with(`mode must be permission bits in octal, such as "0644", from 0001 to 7777, or null.`)
			}
		}
		o.Mode = &mode
	}
	return nil
}

// validTime holds times to what both an HTTP date and a Unix time in
// microseconds can say.
func validTime(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 1 && y <= 9999
}

// mergeMeta turns the patch into changes of single names, and holds what will
// come of it to the limits.
func (x *exchange) mergeMeta(path string, patch optional[map[string]*string]) (map[string]*string, error) {
	e, err := x.fs.Stat(x.r.Context(), path)
	if err != nil {
		return nil, writeProblem(err)
	}
	result := make(map[string]string, len(e.Meta))
	changes := patch.value
	if patch.null {
		changes = make(map[string]*string, len(e.Meta))
	}
	for k, v := range e.Meta {
		if patch.null {
			changes[k] = nil
		} else {
			result[k] = v
		}
	}
	for k, v := range changes {
		if v == nil {
			delete(result, k)
		} else {
			result[k] = *v
		}
	}
	return changes, x.s.limits.checkMeta(result)
}
