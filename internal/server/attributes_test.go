package server

import (
	"net/url"
	"strings"
	"testing"
)

type fullEntry struct {
	Name, Kind, Mode, Modified, Created, SHA256, Target string
	Size                                                int64
	Meta                                                map[string]string
}

func (a *actor) entries(path string) map[string]fullEntry {
	a.w.t.Helper()
	var p struct{ Entries []fullEntry }
	a.do("GET", path, nil).want(200).into(&p)
	m := map[string]fullEntry{}
	for _, e := range p.Entries {
		m[e.Name] = e
	}
	return m
}

const long = "EFS-Modified: 2001-02-03T04:05:06.789012Z"

func TestAttributesAreKept(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/d/file", "content", "EFS-Mode: 4755", long, "EFS-Meta-Ward: 7").want(201)
	a.do("MKCOL", "/data/d/dir/", nil, "EFS-Mode: 0750", long, "EFS-Meta-Ward: 8").want(201)
	a.do("PUT", "/data/d/link", nil, "EFS-Target: ..%2F%C3%A9%20x", "EFS-Mode: 0777", long).want(201)
	a.do("PUT", "/data/d/plain", "x").want(201)

	for name, want := range map[string]fullEntry{
		"file":  {Kind: "file", Size: 7, Mode: "4755", SHA256: "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73", Meta: map[string]string{"ward": "7"}},
		"dir":   {Kind: "directory", Mode: "0750", Meta: map[string]string{"ward": "8"}},
		"link":  {Kind: "symlink", Mode: "0777", Target: "../é x"},
		"plain": {Kind: "file", Size: 1},
	} {
		got := a.entries("/data/d/")[name]
		if got.Kind != want.Kind || got.Size != want.Size || got.Mode != want.Mode || got.Target != want.Target || got.Meta["ward"] != want.Meta["ward"] || got.Created == "" {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if want.SHA256 != "" && got.SHA256 != want.SHA256 || (got.SHA256 != "") != (got.Kind == "file") {
			t.Errorf("%s: sha256 %q", name, got.SHA256)
		}
		if name != "plain" && got.Modified != "2001-02-03T04:05:06.789012Z" {
			t.Errorf("%s: modified %s", name, got.Modified)
		}
		h := a.do("HEAD", "/data/d/"+name, nil)
		if h.header.Get("EFS-Mode") != want.Mode || h.header.Get("EFS-Meta-Ward") != want.Meta["ward"] || h.header.Get("EFS-Modified") != got.Modified {
			t.Errorf("HEAD %s: %v", name, h.header)
		}
		if kind := h.header.Get("EFS-Kind"); (kind != "") != (want.Kind != "file") || kind != "" && kind != want.Kind {
			t.Errorf("HEAD %s: EFS-Kind %q", name, kind)
		}
		if target, _ := url.PathUnescape(h.header.Get("EFS-Target")); target != want.Target {
			t.Errorf("HEAD %s: EFS-Target %q", name, h.header.Get("EFS-Target"))
		}
	}
	if got := a.do("GET", "/data/d/file", nil).want(200).header.Get("EFS-Mode"); got != "4755" {
		t.Errorf("GET: EFS-Mode %q", got)
	}
	// Another store says anew what is kept.
	a.do("PUT", "/data/d/file", "content").want(200)
	if got := a.entries("/data/d/")["file"]; got.Mode != "" || got.Meta != nil {
		t.Errorf("stored without: %+v", got)
	}
}

func TestAttributesArePatched(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/d/file", "content").want(201)
	a.do("MKCOL", "/data/d/dir/", nil).want(201)
	a.do("PUT", "/data/d/link", nil, "EFS-Target: there").want(201)
	merge := "Content-Type: application/merge-patch+json"
	for _, name := range []string{"file", "dir", "dir/", "link"} {
		a.do("PATCH", "/data/d/"+name, `{"mode":"700","modified":"2001-02-03T04:05:06.789012Z","meta":{"ward":"7"}}`, merge).want(200)
		got := a.entries("/data/d/")[strings.Trim(name, "/")]
		if got.Mode != "0700" || got.Modified != "2001-02-03T04:05:06.789012Z" || got.Meta["ward"] != "7" {
			t.Errorf("%s: %+v", name, got)
		}
		a.do("PATCH", "/data/d/"+name, `{"mode":null}`, merge).want(200)
		if got := a.entries("/data/d/")[strings.Trim(name, "/")]; got.Mode != "" || got.Meta["ward"] != "7" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := a.entries("/data/d/")["link"]; got.Target != "there" {
		t.Errorf("patched: %+v", got)
	}
	for _, mode := range []string{`"0"`, `"0000"`, `"8"`, `"rwx"`, `"10000"`, `"-1"`, `""`, `420`} {
		a.do("PATCH", "/data/d/file", `{"mode":`+mode+`}`, merge).wantProblem(badJSON)
	}
}

func TestSymlinksAreNeverFollowedNorRead(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/secret", "content").want(201)
	r := a.do("PUT", "/data/link", nil, "EFS-Target: secret").want(201)
	var s stored
	if r.into(&s); s.Size != 0 || s.SHA256 != "" || s.Path != "/link" || r.header.Get("Repr-Digest") != "" {
		t.Errorf("%+v %v", s, r.header)
	}
	a.do("GET", "/data/link", nil).wantProblem(isSymlink)
	a.do("GET", "/data/link", nil, "Range: bytes=0-1").wantProblem(isSymlink)
	a.do("PUT", "/data/link/below", "x").wantProblem(notDirectory)
	a.do("GET", "/data/link/", nil).wantProblem(notDirectory)
	h := a.do("HEAD", "/data/link", nil).want(200)
	if h.header.Get("Content-Length") != "0" || h.header.Get("Content-Type") != "" || h.header.Get("ETag") != r.header.Get("ETag") {
		t.Errorf("%v", h.header)
	}
	a.do("HEAD", "/data/link", nil, "If-None-Match: "+h.header.Get("ETag")).want(304)
	a.do("PUT", "/data/link", nil, "EFS-Target: other", "If-None-Match: *").wantProblem(preconditionFailed)
	a.do("COPY", "/data/link", nil, "Destination: /data/copy").want(201)
	a.do("MOVE", "/data/copy", nil, "Destination: /data/moved").want(201)
	if got := a.entries("/data/")["moved"]; got.Target != "secret" {
		t.Errorf("%+v", got)
	}
	a.do("PUT", "/data/link", "now a file").want(200)
	a.do("GET", "/data/link", nil).want(200)
	a.do("DELETE", "/data/moved", nil).want(204)

	before := w.snapshot()
	for _, h := range [][]string{
		{"EFS-Target: "}, {"EFS-Target: %zz"}, {"EFS-Target: %00"}, {"EFS-Target: %ff"}, {"EFS-Target: a", "EFS-Target: b"},
		{"EFS-Target: " + strings.Repeat("t", 4097)}, {"EFS-Target: x", "EFS-Mode: 9"}, {"EFS-Mode: 0"}, {"EFS-Mode: 17777"}, {"EFS-Mode: -rw"}, {"EFS-Mode: 1", "EFS-Mode: 2"},
	} {
		a.do("PUT", "/data/bad", nil, h...).wantProblem(badHeader)
	}
	a.do("PUT", "/data/bad", "with contents", "EFS-Target: x").wantProblem(badHeader)
	if w.snapshot() != before {
		t.Error("what was refused has left something")
	}
}

// What lies in a file is for those who may read it; names are for those who
// may list them.
func TestListingsTellOfContentsToReadersOnly(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/p/1/file", "content", "EFS-Mode: 0640", "EFS-Meta-Ward: 7").want(201)
	a.do("PUT", "/data/p/1/link", nil, "EFS-Target: secret").want(201)
	w.addUserWithout("docs", "dora", "list docs:/p/")
	d := w.as("dora@docs")
	for name, e := range d.entries("/data/p/?recursive=true") {
		if e.SHA256 != "" || e.Target != "" || e.Meta != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if e := d.entries("/data/p/1/")["file"]; e.Mode != "0640" || e.Size != 7 {
		t.Errorf("%+v", e)
	}
	w.grant(w.people["dora@docs"], "read", "docs:/p/1/file")
	if e := d.entries("/data/p/1/"); e["file"].SHA256 == "" || e["file"].Meta["ward"] != "7" || e["link"].Target != "" {
		t.Errorf("%+v", e)
	}
}
