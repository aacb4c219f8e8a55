package server

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/archive"
)

// names reads an archive's tar: the names of its members, removed paths with a
// minus.
func archiveNames(t *testing.T, body []byte) (archive.Info, string) {
	t.Helper()
	a, err := archive.OpenTar(bytes.NewReader(body))
	must(t, err)
	var names []string
	for {
		m, err := a.Next()
		if err == io.EOF {
			return a.Info(), strings.Join(names, " ")
		}
		must(t, err)
		if m.Removed {
			must(t, a.EachRemoved(func(p string) error { names = append(names, "-"+p); return nil }))
			continue
		}
		names = append(names, m.Name)
	}
}

func TestArchive(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for _, p := range []string{"/data/a/one", "/data/a/b/two", "/data/three"} {
		a.do("PUT", p, strings.NewReader(p)).want(201)
	}
	const at = "/api/v1/buckets/docs/archive"
	r := a.do("GET", at, nil)
	r.want(200)
	info, names := archiveNames(t, r.body)
	if names != "a a/b a/b/two a/one three" || info.FS != "docs" || info.Path != "/" || info.Since != 0 {
		t.Fatalf("%+v has %s", info, names)
	}
	if r.header.Get("EFS-Sequence") != strconv.FormatUint(info.Sequence, 10) {
		t.Error("the answer's sequence number is not the archive's")
	}
	a.do("DELETE", "/data/three", nil).want(204)
	a.do("PUT", "/data/a/b/four", strings.NewReader("4")).want(201)
	since := strconv.FormatUint(info.Sequence, 10)
	if _, names := archiveNames(t, a.do("GET", at+"?since="+since, nil).want(200).body); names != "-three a a/b a/b/four" {
		t.Errorf("since %s: %s", since, names)
	}
	if info, names := archiveNames(t, a.do("GET", at+"?path=/a/", nil).want(200).body); names != "b b/four b/two one" || info.Path != "/a" {
		t.Errorf("of /a: %s", names)
	}
	if _, names := archiveNames(t, a.do("GET", at+"?path=/a/one", nil).want(200).body); names != "one" {
		t.Errorf("of a file: %s", names)
	}
	a.do("GET", at+"?path=/nothing", nil).wantProblem(notFound)
	a.do("GET", at+"?path=/a/../b", nil).wantProblem(badPath)
	a.do("GET", at+"?since=100000", nil).wantProblem(badParameter)
	a.do("GET", at+"?sinse=1", nil).wantProblem(badParameter)
	w.as("carol@other").do("GET", at, nil).wantProblem(notFound)
	w.dial(w.people["alice@docs"].cert).do("GET", at, nil).want(401)
}

// An archive is for whoever may read and list all of it.
func TestArchiveOfWhatWasGranted(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/patients/173/scan", strings.NewReader("x")).want(201)
	a.do("PUT", "/data/patients/174/scan", strings.NewReader("x")).want(201)
	carol := w.people["carol@other"]
	w.grant(carol, "read,list", "docs:/patients/173")
	w.grant(carol, "read", "docs:/patients/174")
	c := w.as("carol@other")
	const at = "/api/v1/buckets/docs/archive"
	if _, names := archiveNames(t, c.do("GET", at+"?path=/patients/173", nil).want(200).body); names != "scan" {
		t.Error(names)
	}
	c.do("GET", at+"?path=/patients/174", nil).wantProblem(forbidden)
	c.do("GET", at+"?path=/patients", nil).wantProblem(forbidden)
	c.do("GET", at+"?path=/elsewhere", nil).wantProblem(notFound)
}

// A file that is found damaged on the way breaks the archive off: what has come
// so far is taken for none, and no path is in the log.
func TestAnArchiveWithDamageBreaksOff(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/a", strings.NewReader("small")).want(201)
	a.do("PUT", "/data/secret-name", bytes.NewReader(make([]byte, 1<<20))).want(201)
	blobs := w.blobs("docs")
	if len(blobs) != 1 {
		t.Fatal(blobs)
	}
	b, err := os.ReadFile(blobs[0])
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(blobs[0], b, 0o600))
	r := a.do("GET", "/api/v1/buckets/docs/archive", nil)
	if r.err == nil {
		tr, err := archive.OpenTar(bytes.NewReader(r.body))
		for err == nil {
			_, err = tr.Next()
		}
		if err == io.EOF {
			t.Error("the archive came to its end")
		}
	}
	if strings.Contains(w.log.String(), "secret-name") {
		t.Error("a path is in the log")
	}
}
