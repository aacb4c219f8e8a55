package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

type page struct {
	Entries []struct {
		Name, Kind, ETag, Type string
		Size                   int64
	}
	Next *string
}

func (a *actor) names(path string) []string {
	a.w.t.Helper()
	var p page
	a.do("GET", path, nil).want(200).into(&p)
	out := []string{}
	for _, e := range p.Entries {
		out = append(out, e.Name)
	}
	return out
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for _, n := range []string{"b", "a/2", "a/1", "a.txt", "c/d/e", "%C3%A9%22%5C"} {
		a.do("PUT", "/data/l/"+n, n, "Content-Type: text/plain").want(201)
	}
	want := []string{"a.txt", "a", "b", "c", `é"\`} // a.txt before a/, by bytes
	if got := a.names("/data/l/"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	all := []string{"a.txt", "a", "a/1", "a/2", "b", "c", "c/d", "c/d/e", `é"\`}
	if got := a.names("/l/?recursive=true"); !slices.Equal(got, all) {
		t.Errorf("%q, want %q", got, all)
	}
	for limit := 1; limit <= len(all)+1; limit++ {
		var got []string
		for query := fmt.Sprintf("?recursive=true&limit=%d", limit); ; {
			var p page
			a.do("GET", "/data/l/"+query, nil).want(200).into(&p)
			if len(p.Entries) > limit {
				t.Fatalf("%d entries, limit %d", len(p.Entries), limit)
			}
			for _, e := range p.Entries {
				got = append(got, e.Name)
			}
			if p.Next == nil {
				break
			}
			query = fmt.Sprintf("?recursive=true&limit=%d&after=%s", limit, urlEscape(*p.Next))
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %q", limit, got)
		}
	}
	r := a.do("GET", "/data/l/?recursive=true", nil, "Accept: application/x-ndjson").want(200)
	if lines := strings.Count(string(r.body), "\n"); lines != len(all) || r.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d lines of %s", lines, r.header.Get("Content-Type"))
	}
	if got := a.names("/"); !slices.Equal(got, []string{"l"}) {
		t.Errorf("root: %q", got)
	}
	r = a.do("GET", "/api/v1/buckets/docs/objects/l/a", nil).want(308)
	if r.header.Get("Location") != "/api/v1/buckets/docs/objects/l/a/" {
		t.Error(r.header.Get("Location"))
	}
	a.do("HEAD", "/data/l/a", nil).want(308)
	if got := w.as("carol@other").names("/"); len(got) != 0 {
		t.Errorf("another file system shows %q", got)
	}
}

func urlEscape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func TestMoveCopyMakeRemovePatch(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	put := a.do("POST", "/data/a/f", "one", "EFS-Meta-K: v", "EFS-Meta-L: w", "Content-Type: text/plain").want(201)
	a.do("MKCOL", "/data/new/deep/", nil).want(201)
	moved := a.do("MOVE", "/data/a/f", nil, "Destination: /new/deep/g").want(201)
	if moved.header.Get("ETag") != put.header.Get("ETag") {
		t.Error("moving changed the ETag")
	}
	a.do("GET", "/data/a/f", nil).wantProblem(notFound)
	a.do("COPY", "/data/new/deep/g", nil, "Destination: "+w.url+"/data/a/f").want(201)
	a.do("COPY", "/data/new/deep/g", nil, "Destination: /api/v1/buckets/docs/objects/a/f", "Overwrite: T").want(200)
	a.do("MOVE", "/data/new/", nil, "Destination: /data/newer").want(201)
	if got := a.names("/data/?recursive=true"); !slices.Equal(got, []string{"a", "a/f", "newer", "newer/deep", "newer/deep/g"}) {
		t.Errorf("%q", got)
	}
	r := a.do("PATCH", "/data/a/f", `{"type":"image/x","meta":{"k":null,"m":"n"},"modified":"2020-02-02T02:02:02Z"}`, "Content-Type: application/merge-patch+json").want(200)
	h := a.do("GET", "/data/a/f", nil, "If-Match: "+r.header.Get("ETag")).want(200)
	if string(h.body) != "one" || h.header.Get("Content-Type") != "image/x" || h.header.Get("EFS-Meta-K") != "" || h.header.Get("EFS-Meta-L") != "w" ||
		h.header.Get("EFS-Meta-M") != "n" || h.header.Get("Last-Modified") != "Sun, 02 Feb 2020 02:02:02 GMT" {
		t.Errorf("%v", h.header)
	}
	a.do("PATCH", "/data/a/f", `{"type":null,"meta":null}`, "Content-Type: application/merge-patch+json").want(200)
	h = a.do("GET", "/data/a/f", nil).want(200)
	if h.header.Get("Content-Type") != defaultType || h.header.Get("EFS-Meta-M") != "" {
		t.Errorf("%v", h.header)
	}
	a.do("PATCH", "/api/v1/buckets/docs/objects/a/f", `{}`, "Content-Type: application/json").want(200)
	// What is replaced can be bound to a version.
	tag := a.do("PUT", "/data/a/f", "two").want(200).header.Get("ETag")
	other := a.do("PUT", "/data/a/other", "three").want(201).header.Get("ETag")
	for _, method := range []string{"COPY", "MOVE"} {
		a.do(method, "/data/a/other", nil, "Destination: /data/a/f", "EFS-Destination-If-Match: "+other).wantProblem(preconditionFailed)
		a.do(method, "/data/a/other", nil, "Destination: /data/a/none", "EFS-Destination-If-Match: "+tag).wantProblem(preconditionFailed)
		a.do(method, "/data/newer", nil, "Destination: /data/a", "EFS-Destination-If-Match: "+tag).wantProblem(preconditionFailed)
		a.do(method, "/data/a/other", nil, "Destination: /data/a/f", "EFS-Destination-If-Match: f").wantProblem(badHeader)
		tag = a.do(method, "/data/a/other", nil, "Destination: /data/a/f", "If-Match: "+other, "EFS-Destination-If-Match: "+tag).want(200).header.Get("ETag")
	}
	a.do("PUT", "/data/a/link", nil, "EFS-Target: f").want(201)
	a.do("COPY", "/data/a/link", nil, "Destination: /data/a/f", "EFS-Destination-If-Match: "+other+"x").wantProblem(badHeader)
	a.do("COPY", "/data/a/link", nil, "Destination: /data/newer/deep/g", "EFS-Destination-If-Match: "+tag).wantProblem(preconditionFailed)
	a.do("DELETE", "/data/a/link", nil).want(204)
	a.do("DELETE", "/data/newer/?recursive=true", nil).want(204)
	a.do("DELETE", "/api/v1/buckets/docs/objects/a/f", nil).want(204)
	a.do("PUT", "/api/v1/buckets/docs/objects/a/g", "x").want(201)
	a.do("HEAD", "/api/v1/buckets/docs/objects/a/g", nil).want(200)
	a.do("DELETE", "/data/a/g", nil).want(204)
	a.do("DELETE", "/data/a/", nil).want(204)
	if got := a.names("/"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func TestOneOfManyWritersWithTheSameETagWins(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	etag := a.do("PUT", "/data/f", "start").want(201).header.Get("ETag")
	for round := range 10 {
		var mu sync.Mutex
		var won []string
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				text := fmt.Sprint(round, " ", i)
				r := a.do("PUT", "/data/f", text, "If-Match: "+etag)
				mu.Lock()
				defer mu.Unlock()
				switch r.status {
				case 200:
					won = append(won, text)
				case 412:
				default:
					t.Errorf("status %d: %s", r.status, r.body)
				}
			})
		}
		group.Wait()
		r := a.do("GET", "/data/f", nil).want(200)
		if len(won) != 1 || string(r.body) != won[0] {
			t.Fatalf("winners %q, content %q", won, r.body)
		}
		etag = r.header.Get("ETag")
	}
}

func TestReadersSeeOneVersionWhole(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 300_000+i) }
	a.do("PUT", "/data/f", version(0)).want(201)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 15 {
				r := a.do("GET", "/data/f", nil)
				if r.status != 200 || r.err != nil || !bytes.Equal(r.body, version(int(r.body[0]))) {
					t.Errorf("status %d, %d bytes, %v: a mixture", r.status, len(r.body), r.err)
				}
			}
		})
	}
	for i := range 20 {
		a.do("PUT", "/data/f", version(i+1)).want(200)
	}
	group.Wait()
}

type change struct {
	Seq      uint64
	Op, Path string
	From     string
	User     string
}

func TestChangesAreReadAndFollowed(t *testing.T) {
	w := newWorld(t, quick)
	a := w.as("alice@docs")
	a.do("PUT", "/data/a", "1").want(201)
	a.do("PUT", "/data/a", "2").want(200)
	a.do("MOVE", "/data/a", nil, "Destination: /data/b").want(201)
	a.do("DELETE", "/data/b", nil).want(204)
	var ops []string
	var last change
	for line := range bytes.Lines(a.do("GET", "/changes", nil).want(200).body) {
		must(t, json.Unmarshal(line, &last))
		ops = append(ops, last.Op)
	}
	if !slices.Equal(ops, []string{"create", "replace", "move", "delete"}) || last.Path != "/b" || last.User != "alice" {
		t.Errorf("%q, last %+v", ops, last)
	}
	if got := a.do("GET", "/changes?since=0&limit=2", nil).want(200); bytes.Count(got.body, []byte("\n")) != 2 {
		t.Errorf("limit=2: %s", got.body)
	}
	if got := a.do("GET", fmt.Sprintf("/changes?since=%d", last.Seq), nil).want(200); len(got.body) != 0 {
		t.Errorf("after the last: %s", got.body)
	}

	resp, err := a.http.Do(a.request(http.MethodGet, fmt.Sprintf("/changes?follow=true&since=%d", last.Seq), nil))
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "" {
		t.Fatalf("no heartbeat: %q", lines.Text())
	}
	a.do("PUT", "/data/next", "3").want(201)
	for lines.Scan() && lines.Text() == "" {
	}
	var c change
	must(t, json.Unmarshal(lines.Bytes(), &c))
	if c.Path != "/next" || c.Op != "create" || c.Seq <= last.Seq {
		t.Errorf("%+v", c)
	}
	a.do("DELETE", "/auth/session", nil).want(204)
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Errorf("logout did not end the feed in good order: %v", lines.Err())
	}
}
