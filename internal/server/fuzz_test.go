package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/data/a/b", "/a%2Fb", "/%2e%2e/x", "/data//", "/api/v1/buckets/docs/objects/x/", "*", "", "/\xff", "/a%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		path, err := decodedPath(u)
		if err != nil {
			return
		}
		target, err := findTarget(path)
		if err != nil || target.route != routeData && target.route != routeObject {
			return
		}
		if strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") || !utf8.ValidString(target.path) || len(target.path) > efs.MaxPath {
			t.Fatalf("%q was accepted as %q", raw, target.path)
		}
		segments, err := fsys.ParsePath(target.path)
		if err != nil {
			t.Fatalf("%q was accepted, but the file system says %v", target.path, err)
		}
		if got := strings.Join(segments, "/"); got != target.path {
			t.Fatalf("%q became %q", target.path, got)
		}
		if again, err := findTarget(target.prefix + target.path); err != nil || again.path != target.path {
			t.Fatalf("%q is not found again under its prefix: %q, %v", target.path, again.path, err)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-5,-3,7-", int64(100))
	f.Add("bytes=99999999999999999999-", int64(1))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		spans, whole := parseRange(header, size)
		if whole && spans != nil || len(spans) > maxRanges {
			t.Fatalf("%v, %v", spans, whole)
		}
		for _, s := range spans {
			if s.off < 0 || s.n <= 0 || s.off > size-s.n {
				t.Fatalf("%+v lies outside of %d bytes", s, size)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add(`"a", W/"b"`, "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
	f.Add("*", "sha-256=::")
	f.Fuzz(func(t *testing.T, tags, digest string) {
		h := http.Header{"If-Match": {tags}, "Repr-Digest": {digest}, "Client-Cert": {digest}}
		list, err := etags(h, "If-Match", true)
		if err == nil && len(list) == 0 {
			t.Fatalf("%q names no tag and yet demands nothing", tags)
		}
		for _, tag := range list {
			if strings.ContainsAny(tag, "\" \x00\n") {
				t.Fatalf("tag %q", tag)
			}
		}
		if sum, err := bodyDigest(h); err == nil && digest != "" && len(sum) != 32 {
			t.Fatalf("%q: a digest of %d bytes", digest, len(sum))
		} else if err == nil && sum != nil && !strings.Contains(digest, formatDigest(sum)) {
			t.Fatalf("%q became %q", digest, formatDigest(sum))
		}
		parseClientCert(digest)
		parseBasic(digest)
	})
}
