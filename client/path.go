package client

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// segments splits a path, with or without a leading slash, and refuses what
// the server would refuse, so that it is not asked in vain. A trailing slash,
// as directories are often written, is ignored.
func segments(p string) ([]string, error) {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(p, "/"), "/")
	if trimmed == "" {
		return nil, nil
	}
	if len(trimmed) > efs.MaxPath {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrBadPath, efs.MaxPath)
	}
	if !utf8.ValidString(trimmed) || strings.ContainsRune(trimmed, 0) {
		return nil, fmt.Errorf("%w %q: not UTF-8, or a NUL in it", ErrBadPath, p)
	}
	parts := strings.Split(trimmed, "/")
	for _, s := range parts {
		if s == "" || s == "." || s == ".." {
			return nil, fmt.Errorf("%w %q: write it without empty, '.' and '..' segments", ErrBadPath, p)
		}
		if len(s) > efs.MaxSegment {
			return nil, fmt.Errorf("%w: %.40q… is longer than %d bytes", ErrBadPath, s, efs.MaxSegment)
		}
	}
	return parts, nil
}

// clean returns a path with a leading slash and without a trailing one.
func clean(p string) (string, error) {
	parts, err := segments(p)
	return "/" + strings.Join(parts, "/"), err
}

// filePath returns the escaped URL path of a file.
func filePath(p string) (string, error) {
	parts, err := segments(p)
	if err != nil {
		return "", err
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("%w: the root of the file system", ErrIsDir)
	}
	return escape(parts), nil
}

// dirPath returns the escaped URL path of a directory, with a trailing slash.
func dirPath(p string) (string, error) {
	parts, err := segments(p)
	if err != nil {
		return "", err
	}
	if len(parts) == 0 {
		return dataPrefix + "/", nil
	}
	return escape(parts) + "/", nil
}

// dataPrefix begins the paths of files, as escape makes them.
const dataPrefix = "/data"

// place turns a path that is meant in the user's own file system into one in
// the file system that the client works in.
func (c *Client) place(path string) string {
	if c.cfg.Bucket == c.cfg.FS {
		return path
	}
	bucket := "/api/v1/buckets/" + c.cfg.Bucket
	if path == "/changes" {
		return bucket + path
	}
	if rest, ok := strings.CutPrefix(path, dataPrefix+"/"); ok {
		return bucket + "/objects/" + rest
	}
	return path
}

func escape(parts []string) string {
	var b strings.Builder
	b.WriteString(dataPrefix)
	for _, s := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}
