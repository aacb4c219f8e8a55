package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	r.Read(b)
	return b
}

func TestRangesAreSlices(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for _, size := range []int{1, 5000, 64 << 10, 300_001} {
		content := randomBytes(size)
		a.do("PUT", "/data/f", content).want(201)
		for range 40 {
			from := rand.IntN(size)
			to := from + rand.IntN(size-from)
			a.wantRange(t, content, fmt.Sprintf("bytes=%d-%d", from, to), from, to+1)
		}
		n := rand.IntN(size) + 1
		a.wantRange(t, content, fmt.Sprintf("bytes=-%d", n), size-n, size)
		a.wantRange(t, content, fmt.Sprintf("bytes=%d-", n-1), n-1, size)
		a.wantRange(t, content, "bytes=0-99999999999999999999", 0, size)
		for _, ignored := range []string{"bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=", "bytes=0-0" + strings.Repeat(",0-0", 20), "bytes=0-,0-,0-"} {
			if r := a.do("GET", "/data/f", nil, "Range: "+ignored).want(200); !bytes.Equal(r.body, content) {
				t.Errorf("%s: not the whole file", ignored)
			}
		}
		r := a.do("GET", "/data/f", nil, fmt.Sprintf("Range: bytes=%d-", size)).wantProblem(rangeNotSatisfiable)
		if r.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
			t.Error(r.header.Get("Content-Range"))
		}
		a.do("DELETE", "/data/f", nil).want(204)
	}
}

func (a *actor) wantRange(t *testing.T, content []byte, header string, from, to int) {
	t.Helper()
	r := a.do("GET", "/data/f", nil, "Range: "+header).want(206)
	if !bytes.Equal(r.body, content[from:to]) || r.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)) {
		t.Errorf("%s of %d: %d bytes, %s", header, len(content), len(r.body), r.header.Get("Content-Range"))
	}
}

func TestSeveralRanges(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	content := randomBytes(200_000)
	a.do("PUT", "/data/f", content, "Content-Type: image/png").want(201)
	r := a.do("GET", "/data/f", nil, "Range: bytes=10-19, 100000-150000,-3, 999999-").want(206)
	_, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	must(t, err)
	parts := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for _, want := range [][2]int{{10, 20}, {100000, 150001}, {199997, 200000}} {
		p, err := parts.NextPart()
		must(t, err)
		got, err := io.ReadAll(p)
		must(t, err)
		if !bytes.Equal(got, content[want[0]:want[1]]) || p.Header.Get("Content-Type") != "image/png" ||
			p.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/200000", want[0], want[1]-1) {
			t.Errorf("part %v: %d bytes, %v", want, len(got), p.Header)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestPreconditionsOfReads(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	when := time.Date(2026, 3, 4, 5, 6, 7, 890123000, time.UTC)
	first := a.do("PUT", "/data/f", "content", "EFS-Modified: "+when.Format(time.RFC3339Nano)).want(201)
	etag := first.header.Get("ETag")
	const same, earlier, later = "Wed, 04 Mar 2026 05:06:07 GMT", "Wed, 04 Mar 2026 05:06:06 GMT", "Thu, 05 Mar 2026 00:00:00 GMT"
	for _, c := range []struct {
		headers string
		want    int
	}{
		{"", 200},
		{"If-Match: " + etag, 200}, {"If-Match: *", 200}, {`If-Match: "x", ` + etag, 200},
		{`If-Match: "x"`, 412}, {"If-Match: W/" + etag, 412},
		{"If-None-Match: " + etag, 304}, {"If-None-Match: W/" + etag, 304}, {"If-None-Match: *", 304}, {`If-None-Match: "x"`, 200},
		{"If-Modified-Since: " + same, 304}, {"If-Modified-Since: " + later, 304}, {"If-Modified-Since: " + earlier, 200}, {"If-Modified-Since: nonsense", 200},
		{"If-Unmodified-Since: " + same, 200}, {"If-Unmodified-Since: " + earlier, 412}, {"If-Unmodified-Since: " + later, 200},
		{"If-Match: " + etag + "\nIf-Unmodified-Since: " + earlier, 200},
		{`If-None-Match: "x"` + "\nIf-Modified-Since: " + same, 200},
		{"If-Match: " + etag + "\nIf-None-Match: " + etag, 304},
		{`If-Match: "x"` + "\nIf-None-Match: " + etag, 412},
		{"Range: bytes=0-0\nIf-Range: " + etag, 206}, {`Range: bytes=0-0` + "\n" + `If-Range: "x"`, 200}, {"Range: bytes=0-0\nIf-Range: W/" + etag, 200},
		{"Range: bytes=0-0\nIf-Range: " + same, 206}, {"Range: bytes=0-0\nIf-Range: " + later, 200},
		{"Range: bytes=0-0\nIf-None-Match: " + etag, 304},
		{"If-Match: bare", 400},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			want := c.want
			if method == "HEAD" && want == 206 {
				want = 200 // a range is for GET alone
			}
			var headers []string
			if c.headers != "" {
				headers = strings.Split(c.headers, "\n")
			}
			r := a.do(method, "/data/f", nil, headers...)
			if r.status != want {
				t.Errorf("%s with %q: %d, want %d", method, c.headers, r.status, want)
			}
			if r.status == 304 && (len(r.body) != 0 || r.header.Get("ETag") != etag) {
				t.Errorf("304: %v %q", r.header, r.body)
			}
		}
	}
	r := a.do("GET", "/data/f", nil)
	if r.header.Get("Last-Modified") != same || r.header.Get("EFS-Modified") != "2026-03-04T05:06:07.890123Z" || r.header.Get("EFS-Version") != "1" {
		t.Errorf("%v", r.header)
	}
}

// blobs returns the sealed files of a file system.
func (w *world) blobs(fsName string) []string {
	w.t.Helper()
	var out []string
	must(w.t, filepath.WalkDir(filepath.Join(w.root, fsName, "files"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "layout" {
			out = append(out, path)
		}
		return nil
	}))
	return out
}

func TestDamageIsToldOrBreaksTheAnswerOff(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	content := randomBytes(2 << 20)
	a.do("PUT", "/data/f", content).want(201)
	var blob string
	eventually(t, "the content settled", func() bool {
		list := w.blobs("docs")
		blob = list[len(list)-1]
		return len(list) == 1 && !strings.Contains(blob, ".new")
	})
	whole, err := os.ReadFile(blob)
	must(t, err)
	for _, at := range []int{0, 40, 300, 5000, len(whole) / 4, len(whole) / 2, len(whole) - 30000, len(whole) - 1000, len(whole) - 1} {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		must(t, os.WriteFile(blob, bad, 0o600))
		for _, client := range []*actor{a, a.oldHTTP()} {
			r := client.do("GET", "/data/f", nil)
			if r.status == 200 && r.err == nil {
				t.Errorf("byte %d flipped: %d bytes were delivered as if whole", at, len(r.body))
			}
			if r.status == 200 && !bytes.HasPrefix(content, r.body) {
				t.Errorf("byte %d flipped: wrong bytes were delivered", at)
			}
			if r.status != 200 {
				r.wantProblem(damaged)
			}
		}
	}
	for _, cut := range []int{0, 100, len(whole) / 2, len(whole) - 1} {
		must(t, os.WriteFile(blob, whole[:cut], 0o600))
		a.do("GET", "/data/f", nil).wantProblem(damaged)
		a.do("GET", "/data/f", nil, "Range: bytes=0-9").wantProblem(damaged)
	}
	must(t, os.WriteFile(blob, whole, 0o600))
	if r := a.do("GET", "/data/f", nil).want(200); !bytes.Equal(r.body, content) {
		t.Error("the mended file is not itself")
	}
}
