package fsys

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// ParsePath cuts a path into its segments. One leading and one trailing slash
// are accepted; "" and "/" are the root, without segments. What is not UTF-8,
// contains NUL or an empty, "." or ".." segment, or is longer than
// efs.MaxPath or efs.MaxSegment allow, is efs.ErrBadPath.
func ParsePath(path string) (segments []string, err error) {
	p := strings.TrimPrefix(path, "/")
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		if len(path) > 1 {
			return nil, fmt.Errorf("%w: an empty segment", efs.ErrBadPath)
		}
		return nil, nil
	}
	if len(p) > efs.MaxPath {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", efs.ErrBadPath, len(p), efs.MaxPath)
	}
	if !utf8.ValidString(p) {
		return nil, fmt.Errorf("%w: not UTF-8", efs.ErrBadPath)
	}
	segments = strings.Split(p, "/")
	for _, s := range segments {
		if err := checkSegment(s); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

func checkSegment(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: an empty segment", efs.ErrBadPath)
	case s == "." || s == "..":
		return fmt.Errorf("%w: the segment %q", efs.ErrBadPath, s)
	case len(s) > efs.MaxSegment:
		return fmt.Errorf("%w: a segment of %d bytes, at most %d are allowed", efs.ErrBadPath, len(s), efs.MaxSegment)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: a NUL byte", efs.ErrBadPath)
	}
	return nil
}

// parseFile is ParsePath for what must not be the root nor end in a slash.
func parseFile(path string) ([]string, error) {
	segments, err := parseEntry(path)
	if err == nil && strings.HasSuffix(path, "/") {
		err = fmt.Errorf("%w: a file's path does not end in a slash", efs.ErrBadPath)
	}
	return segments, err
}

// parseEntry is ParsePath for what must not be the root.
func parseEntry(path string) ([]string, error) {
	segments, err := ParsePath(path)
	if err == nil && len(segments) == 0 {
		err = fmt.Errorf("%w: the root can be neither made nor changed", efs.ErrBadPath)
	}
	return segments, err
}

// join is the inverse of ParsePath, without a leading slash.
func join(segments []string) string { return strings.Join(segments, "/") }
