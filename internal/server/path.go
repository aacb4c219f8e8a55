package server

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// decodedPath returns the path of a request, percent-decoded exactly once. An
// encoded slash or NUL is refused rather than decoded: it would make one
// segment look like two, or end a name early, to somebody on the way.
//
// url.URL keeps RawPath only where the way the path was written differs from
// the usual one, which it does for every encoded slash.
func decodedPath(u *url.URL) (string, error) {
	if u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return "", badPath.with("The path has an encoded slash (%2F). A slash separates directories and cannot be part of a name.")
	}
	return u.Path, nil
}

// checkPath applies the rules of paths to one without its leading slash. A
// single trailing slash says that a directory is meant; it is cut off and
// reported. The empty path is the root, a directory.
func checkPath(p string) (clean string, dir bool, err error) {
	if p == "" {
		return "", true, nil
	}
	if len(p) > efs.MaxPath {
		return "", false, badPath.with("The path is longer than 4096 bytes. Shorten it.")
	}
	if !utf8.ValidString(p) {
		return "", false, badPath.with("The path is not valid UTF-8. Encode names as UTF-8 before percent-encoding them.")
	}
	if strings.IndexByte(p, 0) >= 0 {
		return "", false, badPath.with("The path has a NUL byte. Remove it.")
	}
	if p[len(p)-1] == '/' {
		p, dir = p[:len(p)-1], true
	}
	for rest, more := p, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch {
		case segment == "":
			return "", false, badPath.with("The path has an empty segment (two slashes in a row). Remove one.")
		case segment == "." || segment == "..":
			return "", false, badPath.with(`The path has a "." or ".." segment. Send the path it stands for.`)
		case len(segment) > efs.MaxSegment:
			return "", false, badPath.with("A segment of the path is longer than 255 bytes. Shorten it.")
		}
	}
	return p, dir, nil
}
