package server

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/node"
)

func TestBadInputIsToldApartAndLeavesNoTrace(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Body = 1 << 20 })
	a := w.as("alice@docs")
	a.do("PUT", "/data/dir/file", "content").want(201)
	a.do("PUT", "/data/keep", "content").want(201)
	etag := a.do("HEAD", "/data/keep", nil).header.Get("ETag")
	before := w.snapshot()

	wrongDigest := "Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
	json := "Content-Type: application/json"
	for _, c := range []struct {
		method, path string
		body         any
		headers      []string
		want         *problemKind
	}{
		{"PUT", "/data/../x", "x", nil, badPath},
		{"PUT", "/data/a/../x", "x", nil, badPath},
		{"PUT", "/data/./x", "x", nil, badPath},
		{"PUT", "/data/%2e%2e/x", "x", nil, badPath},
		{"PUT", "/data/a%2Fb", "x", nil, badPath},
		{"PUT", "/data/a%2fb", "x", nil, badPath},
		{"PUT", "/..%2f..%2fetc%2fpasswd", "x", nil, badPath},
		{"PUT", "/data/a%00b", "x", nil, badPath},
		{"PUT", "/data/a%ffb", "x", nil, badPath},
		{"PUT", "/data/a%c0%afb", "x", nil, badPath},
		{"PUT", "/data/a%ed%a0%80", "x", nil, badPath},
		{"PUT", "/data//x", "x", nil, badPath},
		{"PUT", "//x", "x", nil, badPath},
		{"PUT", "/data/a//", "x", nil, badPath},
		{"PUT", "/data/" + strings.Repeat("n", 256), "x", nil, badPath},
		{"PUT", "/data/" + strings.Repeat("d/", 2100) + "x", "x", nil, badPath},
		{"PUT", "/api/v1/buckets/docs/objects/../x", "x", nil, badPath},
		{"PUT", "/data/x/", "x", nil, isDirectory},
		{"PUT", "/data/", "x", nil, isDirectory},
		{"PUT", "/data/dir", "x", nil, isDirectory},
		{"PUT", "/data/keep/below", "x", nil, notDirectory},
		{"PUT", "/data/x?version=3", "x", nil, badParameter},
		{"DELETE", "/data/dir/?recursive=yes", nil, nil, badParameter},
		{"DELETE", "/data/dir/?recursive=true&recursive=true", nil, nil, badParameter},
		{"GET", "/data/?limit=0", nil, nil, badParameter},
		{"GET", "/data/?limit=99999", nil, nil, badParameter},
		{"GET", "/changes?since=-1", nil, nil, badParameter},
		{"PUT", "/data/x", "x", []string{wrongDigest}, digestMismatch},
		{"PUT", "/data/keep", strings.Repeat("large", 40000), []string{wrongDigest}, digestMismatch},
		{"PUT", "/data/x", "x", []string{"Repr-Digest: md5=:47DEQpj8HBSa+/TImW+5JA==:"}, badHeader},
		{"PUT", "/data/x", "x", []string{"Repr-Digest: sha-256=47DEQpj8"}, badHeader},
		{"PUT", "/data/x", "x", []string{"If-Match: unquoted"}, badHeader},
		{"PUT", "/data/x", "x", []string{"Content-Range: bytes 0-0/1"}, badHeader},
		{"PUT", "/data/x", "x", []string{"EFS-Modified: yesterday"}, badHeader},
		{"PUT", "/data/x", "x", []string{"Content-Encoding: gzip"}, unsupportedMedia},
		{"PUT", "/data/x", "x", []string{"Content-Type: " + strings.Repeat("t", 256)}, badHeader},
		{"PUT", "/data/x", "x", []string{"EFS-Meta-Bad!: x"}, badHeader},
		{"PUT", "/data/x", "x", []string{"EFS-Meta-Two: x", "EFS-Meta-Two: y"}, badHeader},
		{"PUT", "/data/x", "x", []string{"EFS-Meta-Big: " + strings.Repeat("m", 9000)}, headerTooLarge},
		{"PUT", "/data/x", "x", []string{`If-Match: "nothing"`}, preconditionFailed},
		{"PUT", "/data/keep", "x", []string{`If-Match: "nothing"`}, preconditionFailed},
		{"PUT", "/data/keep", "x", []string{"If-Match: W/" + etag}, preconditionFailed},
		{"PUT", "/data/keep", "x", []string{"If-None-Match: *"}, preconditionFailed},
		{"PUT", "/data/keep", "x", []string{"If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT"}, preconditionFailed},
		{"DELETE", "/data/keep", nil, []string{`If-Match: "nothing"`}, preconditionFailed},
		{"PUT", "/data/x", strings.Repeat("b", 1<<20+1), nil, bodyTooLarge},
		{"PUT", "/data/x", io.MultiReader(strings.NewReader(strings.Repeat("b", 1<<20+1))), nil, bodyTooLarge},
		{"DELETE", "/data/dir/", nil, nil, notEmpty},
		{"DELETE", "/data/dir", nil, nil, notEmpty},
		{"DELETE", "/data/keep/", nil, nil, notDirectory},
		{"DELETE", "/data/absent", nil, nil, notFound},
		{"DELETE", "/data/", nil, nil, forbidden},
		{"GET", "/data/absent", nil, nil, notFound},
		{"GET", "/data/absent/", nil, nil, notFound},
		{"GET", "/data/keep/x", nil, nil, notFound},
		{"GET", "/data/keep/", nil, nil, notDirectory},
		{"GET", "/data/keep", nil, []string{"Range: bytes=100-"}, rangeNotSatisfiable},
		{"GET", "/ui/x", nil, nil, notFound},
		{"GET", "/s3/x", nil, nil, notFound},
		{"GET", "/api/v1/nothing", nil, nil, notFound},
		{"GET", "/api/v1/buckets/other/objects/x", nil, nil, notFound},
		{"PUT", "/api/v1/buckets/never-made/objects/x", "x", nil, forbidden},
		{"MKCOL", "/data/dir", nil, nil, exists},
		{"MKCOL", "/data/keep", nil, nil, exists},
		{"MKCOL", "/data/x", "<xml/>", nil, unsupportedMedia},
		{"MOVE", "/data/keep", nil, nil, badDestination},
		{"MOVE", "/data/keep", nil, []string{"Destination: https://elsewhere/data/x"}, badDestination},
		{"MOVE", "/data/keep", nil, []string{"Destination: /data/"}, badDestination},
		{"MOVE", "/data/keep", nil, []string{"Destination: /auth/hello"}, badDestination},
		{"MOVE", "/data/keep", nil, []string{"Destination: /data/a%2fb"}, badPath},
		{"MOVE", "/data/keep", nil, []string{"Destination: /api/v1/buckets/other/objects/x"}, wrongFS},
		{"MOVE", "/data/keep", nil, []string{"Destination: /data/x/"}, notDirectory},
		{"MOVE", "/data/keep", nil, []string{"Destination: /data/x", "Overwrite: maybe"}, badHeader},
		{"MOVE", "/data/keep", nil, []string{"Destination: /data/dir/file", "Overwrite: F"}, exists},
		{"MOVE", "/data/dir", nil, []string{"Destination: /data/dir/below"}, intoItself},
		{"COPY", "/data/dir", nil, []string{"Destination: /data/dir/below"}, intoItself},
		{"COPY", "/data/dir", nil, []string{"Destination: /data/x", "Depth: 0"}, badHeader},
		{"COPY", "/data/absent", nil, []string{"Destination: /data/x"}, notFound},
		{"PATCH", "/data/keep", "{}", nil, unsupportedMedia},
		{"PATCH", "/data/keep", `{"size":3}`, []string{json}, badJSON},
		{"PATCH", "/data/keep", `{"type":"a"}{"type":"b"}`, []string{json}, badJSON},
		{"PATCH", "/data/keep", `{"modified":null}`, []string{json}, badJSON},
		{"PATCH", "/data/keep", `{"meta":{"Bad Name":"x"}}`, []string{json}, badHeader},
		{"PATCH", "/data/keep", `{"type":"` + strings.Repeat("t", 70000) + `"}`, []string{json}, bodyTooLarge},
		{"PATCH", "/data/absent", `{"type":"x"}`, []string{json}, notFound},
		{"TRACE", "/data/keep", nil, nil, methodNotAllowed},
		{"PROPFIND", "/data/keep", nil, nil, methodNotAllowed},
		{"PUT", "/changes", "x", nil, methodNotAllowed},
		{"GET", "/auth/hello", nil, nil, methodNotAllowed},
		{"POST", "/auth/hello", `{"user":"alice","admin":true}`, []string{json}, badJSON},
		{"POST", "/auth/hello", `{"user":"../alice"}`, []string{json}, badJSON},
		{"POST", "/auth/hello", `{"user":"alice","fs":"other"}`, []string{json}, wrongFS},
		{"POST", "/auth/hello", `{"user":"` + strings.Repeat("u", 70000) + `"}`, []string{json}, bodyTooLarge},
		{"POST", "/auth/hello", `user=alice`, nil, unsupportedMedia},
		{"POST", "/auth/certificate", "garbage", []string{"Content-Type: application/pkcs10"}, badCSR},
	} {
		t.Run(fmt.Sprintf("%s %.40s %.40v", c.method, c.path, c.headers), func(t *testing.T) {
			a.w.t = t
			r := a.do(c.method, c.path, c.body, c.headers...)
			r.t = t
			r.wantProblem(c.want)
			if c.want == methodNotAllowed && r.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
	a.w.t = t
	if after := w.snapshot(); after != before {
		t.Errorf("refused requests left a trace:\n%s\nbefore:\n%s", after, before)
	}
}

func TestPathsAreComparedByteForByte(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	names := []string{"/data/%C3%A9", "/data/e%CC%81", "/data/%252F", "/data/%5C", "/data/a+b", "/data/a%20b", "/data/%3F%23", "/data/...", "/data/livez", "/changes/x", "/data/data", "/data/auth"}
	for i, n := range names {
		a.do("PUT", n, fmt.Sprint(i)).want(201)
	}
	for i, n := range names {
		if got := a.do("GET", n, nil).want(200); string(got.body) != fmt.Sprint(i) {
			t.Errorf("%s: %q, want %d", n, got.body, i)
		}
	}
	if r := a.do("GET", "/data/%252F", nil).want(200); string(r.body) != "2" {
		t.Error("decoded twice")
	}
}

func TestCatalogueAndDocumentAgree(t *testing.T) {
	b, err := os.ReadFile("../../docs/errors.md")
	must(t, err)
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([0-9]{3}) \\| (.+) \\|$").FindAllStringSubmatch(string(b), -1) {
		if _, twice := documented[m[1]]; twice {
			t.Errorf("%s is listed twice", m[1])
		}
		documented[m[1]] = m[2]
	}
	for _, k := range catalogue {
		if documented[k.name] != fmt.Sprint(k.status) {
			t.Errorf("%s with status %d: docs/errors.md says %q", k.name, k.status, documented[k.name])
		}
		delete(documented, k.name)
	}
	for name := range documented {
		t.Errorf("docs/errors.md lists %s, which no code sends", name)
	}
}

func TestRequestIDs(t *testing.T) {
	w := newWorld(t)
	a := w.dial()
	if got := a.do("GET", "/livez", nil, "X-Request-Id: my-id.7").header.Get("X-Request-Id"); got != "my-id.7" {
		t.Errorf("a harmless id became %q", got)
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", "with space", strings.Repeat("x", 65), `"quoted"`, "new/line"} {
		got := a.do("GET", "/livez", nil, "X-Request-Id: "+bad).header.Get("X-Request-Id")
		if got == bad || seen[got] || !harmlessID(got) {
			t.Errorf("id %q for %q", got, bad)
		}
		seen[got] = true
	}
	if r := a.do(http.MethodOptions, "/data/x", nil).want(204); !strings.Contains(r.header.Get("Allow"), "MKCOL") {
		t.Errorf("OPTIONS: %v", r.header)
	}
}
