package fsys

import (
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// check judges the condition against the entry at a path, nil if none. The
// order is that of RFC 9110 §13.2.2.
func (c *Cond) check(e *efs.Entry) error {
	if len(c.IfMatch) > 0 && (e == nil || !matches(c.IfMatch, e)) {
		return fmt.Errorf("%w: the file is not the version that was asked for", efs.ErrPrecondition)
	}
	if len(c.IfNoneMatch) > 0 && e != nil && matches(c.IfNoneMatch, e) {
		return fmt.Errorf("%w: the file exists in a version that was excluded", efs.ErrPrecondition)
	}
	return nil
}

func matches(tags []string, e *efs.Entry) bool {
	return slices.Contains(tags, "*") || slices.Contains(tags, e.ETag)
}

// The limits of what may be kept with an entry, in bytes.
const (
	MaxType = 255      // of a content type
	MaxMeta = 16 << 10 // of all user metadata, keys and values
)

// checkAttributes judges what may be kept with an entry beside its contents.
func checkAttributes(contentType string, meta map[string]string, mode uint32) error {
	if mode > efs.MaxMode {
		return fmt.Errorf("%w: a mode of %o, at most %o is allowed", efs.ErrBadInput, mode, efs.MaxMode)
	}
	return checkMeta(contentType, meta)
}

func checkMeta(contentType string, meta map[string]string) error {
	if len(contentType) > MaxType {
		return fmt.Errorf("%w: a content type of %d bytes, at most %d are allowed", efs.ErrBadInput, len(contentType), MaxType)
	}
	var n int
	for k, v := range meta {
		if k == "" {
			return fmt.Errorf("%w: metadata without a name", efs.ErrBadInput)
		}
		n += len(k) + len(v)
	}
	if n > MaxMeta {
		return fmt.Errorf("%w: %d bytes of metadata, at most %d are allowed", efs.ErrBadInput, n, MaxMeta)
	}
	return nil
}
