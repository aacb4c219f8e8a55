package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/fsys"
)

const uploadsOfDocs = "/api/v1/buckets/docs/uploads"

// begins begins an upload and returns the path of it.
func (a *actor) begins(path string, headers ...string) string {
	a.w.t.Helper()
	r := a.json("POST", uploadsOfDocs, map[string]any{"path": path}, headers...).want(201)
	var u uploadAnswer
	if r.into(&u); r.header.Get("Location") != uploadsOfDocs+"/"+u.Upload.String() || u.Path != "/"+strings.Trim(path, "/") {
		a.w.t.Errorf("%+v at %s", u, r.header.Get("Location"))
	}
	return r.header.Get("Location")
}

// sends sends a part.
func (a *actor) sends(upload string, n int, body []byte, headers ...string) map[string]any {
	a.w.t.Helper()
	var p partAnswer
	a.do("PUT", fmt.Sprintf("%s/parts/%d", upload, n), body, headers...).want(200).into(&p)
	if sum := sha256.Sum256(body); p.Part != n || p.Size != int64(len(body)) || p.SHA256 != hex.EncodeToString(sum[:]) {
		a.w.t.Errorf("part %d: %+v", n, p)
	}
	return map[string]any{"part": n, "sha256": p.SHA256}
}

func TestAFileIsUploadedInParts(t *testing.T) {
	w := newWorld(t, audited)
	a := w.as("alice@docs")
	one, two := bytes.Repeat([]byte("one"), 100_000), []byte("two")
	whole := append(bytes.Clone(one), two...)
	sum := sha256.Sum256(whole)
	up := a.json("POST", uploadsOfDocs, map[string]any{"path": "/new/é file", "type": "a/b", "meta": map[string]string{"ward": "7"}, "mode": "0640", "modified": "2001-02-03T04:05:06.789012Z"}, "X-Request-Id: begin").want(201).header.Get("Location")
	parts := []any{a.sends(up, 1, one, "X-Request-Id: part"), a.sends(up, 2, two)}
	a.do("GET", "/data/new/", nil).wantProblem(notFound)
	var u uploadAnswer
	if a.do("GET", up, nil).want(200).into(&u); len(u.Parts) != 2 || u.Parts[0].Size != 300_000 || u.MaxParts != fsys.MaxParts {
		t.Errorf("%+v", u)
	}
	r := a.json("POST", up+"/complete", map[string]any{"parts": parts, "sha256": hex.EncodeToString(sum[:])}, "X-Request-Id: complete").want(201)
	var s stored
	if r.into(&s); s.Path != "/new/é file" || s.SHA256 != hex.EncodeToString(sum[:]) || s.Size != int64(len(whole)) || s.Version != 1 {
		t.Errorf("%+v", s)
	}
	g := a.do("GET", "/data/new/%C3%A9%20file", nil).want(200)
	if !bytes.Equal(g.body, whole) || g.header.Get("Content-Type") != "a/b" || g.header.Get("EFS-Meta-Ward") != "7" || g.header.Get("EFS-Mode") != "0640" || g.header.Get("EFS-Modified") != "2001-02-03T04:05:06.789012Z" {
		t.Errorf("%d bytes, %v", len(g.body), g.header)
	}
	if g := a.do("GET", "/data/new/%C3%A9%20file", nil, "Range: bytes=299998-300001").want(206); string(g.body) != "netw" {
		t.Errorf("%q", g.body)
	}
	a.do("GET", up, nil).wantProblem(uploadNotFound)
	a.json("POST", up+"/complete", map[string]any{"parts": parts}).wantProblem(uploadNotFound)
	for id, op := range map[string]string{"begin": "upload.begin", "part": "upload.part", "complete": "file.store"} {
		lines := w.events(id)
		if len(lines) != 1 || lines[0].Op != op || lines[0].User != "alice" || lines[0].FS != "docs" || len(lines[0].Name) == 0 {
			t.Errorf("%s: %+v", id, lines)
		}
	}
	if told := w.traces("complete"); len(told) != 1 || told[0].Origin.Op != "file.store" {
		t.Errorf("%+v", told)
	}
}

func TestUploadsAreConditional(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	etag := a.do("PUT", "/data/f", "old").want(201).header.Get("ETag")
	a.json("POST", uploadsOfDocs, map[string]any{"path": "/f"}, "If-None-Match: *").wantProblem(preconditionFailed)
	up := a.begins("/f", "If-Match: "+etag)
	part := []any{a.sends(up, 1, []byte("new"))}
	a.do("PUT", "/data/f", "between").want(200)
	a.json("POST", up+"/complete", map[string]any{"parts": part}, "If-Match: "+etag).wantProblem(preconditionFailed)
	a.json("POST", up+"/complete", map[string]any{"parts": part}).want(200)
	if g := a.do("GET", "/data/f", nil).want(200); string(g.body) != "new" {
		t.Errorf("%q", g.body)
	}
	up = a.begins("/g")
	a.sends(up, 1, []byte("x"))
	a.do("DELETE", up, nil).want(204)
	a.do("DELETE", up, nil).wantProblem(uploadNotFound)
	a.do("GET", "/data/g", nil).wantProblem(notFound)
}

func TestBadUploadsAreToldApart(t *testing.T) {
	w := newWorld(t)
	a, bob := w.as("alice@docs"), w.as("bob@docs")
	a.do("PUT", "/data/dir/file", "x").want(201)
	for path, want := range map[string]*problemKind{"/dir": isDirectory, "/dir/": isDirectory, "": isDirectory, "/a//b": badPath, "/../x": badPath, "/dir/file/x": notDirectory} {
		a.json("POST", uploadsOfDocs, map[string]any{"path": path}).wantProblem(want)
	}
	for _, doc := range []map[string]any{{"path": "/x", "mode": "9"}, {"path": "/x", "type": "\n"}, {"path": "/x", "color": "red"}, {"path": 7}} {
		a.json("POST", uploadsOfDocs, doc).wantProblem(badJSON)
	}
	a.json("POST", uploadsOfDocs, map[string]any{"path": "/x", "meta": map[string]string{"a b": "c"}}).wantProblem(badHeader)
	a.json("POST", "/api/v1/buckets/nowhere/uploads", map[string]any{"path": "/x"}).wantProblem(forbidden)
	up := a.begins("/x")
	for part, want := range map[string]*problemKind{"0": badPath, "1001": badPath, "01": badPath, "x": badPath, "-1": badPath} {
		a.do("PUT", up+"/parts/"+part, "x").wantProblem(want)
	}
	a.do("PUT", up+"/parts/1", "x", "Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:").wantProblem(digestMismatch)
	a.do("PUT", up+"/parts/1?x=y", "x").wantProblem(badParameter)
	a.do("PUT", uploadsOfDocs+"/no-id/parts/1", "x").wantProblem(uploadNotFound)
	part := a.sends(up, 1, []byte("x"))
	for _, doc := range []map[string]any{{"parts": []any{}}, {"parts": []any{part, part}}, {"parts": []any{map[string]any{"part": 2, "sha256": part["sha256"]}}}, {"parts": []any{map[string]any{"part": 1, "sha256": strings.Repeat("0", 64)}}}} {
		a.json("POST", up+"/complete", doc).wantProblem(uploadParts)
	}
	a.json("POST", up+"/complete", map[string]any{"parts": []any{map[string]any{"part": 1, "sha256": "x"}}}).wantProblem(badJSON)
	a.json("POST", up+"/complete", map[string]any{"parts": []any{part}, "sha256": strings.Repeat("0", 64)}).wantProblem(digestMismatch)
	// To others there is no such upload.
	bob.do("GET", up, nil).wantProblem(uploadNotFound)
	bob.do("PUT", up+"/parts/1", "y").wantProblem(uploadNotFound)
	bob.do("DELETE", up, nil).wantProblem(uploadNotFound)
	bob.json("POST", up+"/complete", map[string]any{"parts": []any{part}}).wantProblem(uploadNotFound)
	a.json("POST", up+"/complete", map[string]any{"parts": []any{part}}).want(201)
	for range fsys.MaxUploads {
		a.begins("/y")
	}
	a.json("POST", uploadsOfDocs, map[string]any{"path": "/y"}).wantProblem(tooManyUploads)
}

// Whether somebody may write is asked at each step.
func TestUploadsTakeWriteOnThePath(t *testing.T) {
	w := newWorld(t)
	p := w.addUserWithout("docs", "dora", "write docs:/in/")
	d := w.as("dora@docs")
	d.json("POST", uploadsOfDocs, map[string]any{"path": "/out/x"}).wantProblem(forbidden)
	up := d.begins("/in/x")
	part := d.sends(up, 1, []byte("x"))
	w.revoke(p, "write", "docs:/in/")
	w.grant(p, "write", "docs:/elsewhere/")
	d = w.as("dora@docs")
	d.do("PUT", up+"/parts/2", "y").wantProblem(forbidden)
	d.json("POST", up+"/complete", map[string]any{"parts": []any{part}}).wantProblem(forbidden)
	d.do("DELETE", up, nil).wantProblem(forbidden)
	w.grant(p, "write", "docs:/in/x")
	d = w.as("dora@docs")
	d.json("POST", up+"/complete", map[string]any{"parts": []any{part}}).want(201)
}
