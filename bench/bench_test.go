package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		head   string
		proof  string
		want   answer
		failed bool
	}{
		"stored":        {"HTTP/1.1 201 Created\r\nETag: \"x\"\r\nContent-Length: 12\r\n\r\n", "etag", answer{201, 12, true}, false},
		"other case":    {"HTTP/1.1 200 OK\r\ncontent-length:7\r\nX-Amz-Server-Side-Encryption: aws:kms\r\n\r\n", "x-amz-server-side-encryption", answer{200, 7, true}, false},
		"no proof":      {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "etag", answer{200, 7, false}, false},
		"empty proof":   {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag:\r\n\r\n", "etag", answer{200, 7, false}, false},
		"nothing asked": {"HTTP/1.1 206 Partial Content\r\nContent-Length: 7\r\n\r\n", "", answer{206, 7, true}, false},
		"no content":    {"HTTP/1.1 204 No Content\r\n\r\n", "", answer{204, 0, true}, false},
		"no length":     {"HTTP/1.1 200 OK\r\n\r\n", "", answer{}, true},
		"chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", answer{}, true},
		"old protocol":  {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", answer{}, true},
		"rubbish":       {"200 OK\r\n\r\n", "", answer{}, true},
		"cut":           {"HTTP/1.1 200 OK\r\nContent-Le", "", answer{}, true},
	} {
		conn := &conn{in: bufio.NewReader(strings.NewReader(c.head))}
		got, err := conn.answer(c.proof)
		if (err != nil) != c.failed {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestClient: the bare server's answers are right, and those that are not are
// noticed.
func TestClient(t *testing.T) {
	s := &bareServer{}
	if err := s.Start(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	c, err := dial(t.Context(), s, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := request{method: http.MethodGet, key: "64m/00/0", size: 64 << 20, check: true}
	if err := c.do(r); err != nil {
		t.Fatal(err)
	}
	r = request{method: http.MethodGet, key: "4k/00/0", size: 4 << 10, check: true}
	if err := c.do(r); err != nil {
		t.Fatal(err)
	}
	r.object = 1
	if err := c.do(r); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("another object's bytes: %v", err)
	}
	r.object, r.size = 0, 4<<10+1
	if err := c.do(r); err == nil || !strings.Contains(err.Error(), "4096 bytes instead of 4097") {
		t.Errorf("an object too short: %v", err)
	}
}

// TestGiveUp: a server that refuses everything does not keep a client busy.
func TestGiveUp(t *testing.T) {
	s := &bareServer{}
	if err := s.Start(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	w := Work{Name: "4k", Method: http.MethodGet, Size: 5 << 10, Clients: 2, Keys: 1} // it answers 4 KiB
	res, err := load(t.Context(), s, w, time.Hour, nil)
	if err != nil || res.Ops != 0 || res.Errors != 2*giveUp || res.First == "" {
		t.Errorf("%+v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := load(ctx, s, w, time.Hour, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPattern(t *testing.T) {
	if err := compare(3, 100, piece(3, 100, patternPiece)); err != nil {
		t.Error(err)
	}
	joined := append(append([]byte{}, piece(3, 0, 1000)...), piece(3, 1000, 1000)...)
	if err := compare(3, 0, joined); err != nil {
		t.Errorf("pieces do not join: %v", err)
	}
	joined[1999] ^= 1
	for what, err := range map[string]error{
		"a flipped bit":    compare(3, 0, joined),
		"another object":   compare(4, 0, piece(3, 0, 4096)),
		"a segment before": compare(3, 64<<10, piece(3, 0, 4096)),
	} {
		if err == nil {
			t.Errorf("%s is not noticed", what)
		}
	}
}

// TestWire: bytes arrive in order, and nothing is kept back from who reads.
func TestWire(t *testing.T) {
	a, b := net.Pipe()
	w := newWire(a)
	go func() {
		for _, n := range []int{1, wireBuffer - 1, 2, wireBuffer + 1, 5} {
			w.Write(make([]byte, n))
		}
		w.Read(make([]byte, 1)) // flushes
	}()
	if _, err := io.ReadFull(b, make([]byte, 2*wireBuffer+8)); err != nil {
		t.Error(err)
	}
	a.Close()
	b.Close()
}

// TestSigningKey compares with what `openssl dgst -sha256 -mac HMAC` makes of the
// same steps.
func TestSigningKey(t *testing.T) {
	const want = "1eb97ae904f95a1c1d8522007d19c1253c826932668ad630e7dc942a1a5dddba"
	if got := hex.EncodeToString(deriveKey("20150830").key); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRatios(t *testing.T) {
	out := `goos: linux
BenchmarkRatioDigest-2         1   0 ns/op   0.951 ratio
BenchmarkRatioDigest-2         1   0 ns/op   0.940 ratio
BenchmarkRatioOpen/Reader-2    1   0 ns/op   12 B/op   0.99 ratio
BenchmarkOther                 1   5 ns/op
PASS
`
	got := parseRatios(out)
	if len(got) != 2 || got[0].Name != "Digest" || len(got[0].Values) != 2 || got[0].Values[1] != 0.94 ||
		got[1].Name != "Open/Reader" || got[1].Values[0] != 0.99 {
		t.Errorf("%+v", got)
	}
}

// report is one in which EFS does so many times what the others do.
func report(minio, nginx, disk float64) *Report {
	rounds := func(per float64) []Result {
		var all []Result
		for _, slow := range []int64{1, 4, 2} { // a busy machine slows all alike
			all = append(all, Result{Ops: int64(1e6 / per / float64(slow)), Elapsed: time.Second})
		}
		return all
	}
	r := &Report{Results: map[string]map[string][]Result{}}
	for _, w := range works {
		r.Results[w.Name] = map[string][]Result{"efs": rounds(1), "minio": rounds(minio), "nginx": rounds(nginx)}
		if w.Disk {
			r.Results[w.Name]["disk"] = rounds(disk)
		}
	}
	return r
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		work               string
		minio, nginx, disk float64
		met                bool
	}{
		{"store-4k", 4.01, 0.61, 1, true},
		{"store-4k", 3.9, 0.61, 1, false},
		{"store-4k", 4.01, 0.59, 1, false},
		{"store-64m", 1.2, 0.1, 0.5, true},
		{"store-64m", 0.9, 0.1, 0.95, true},
		{"store-64m", 0.9, 0.1, 0.85, false},
		{"range-1g", 3.1, 0.1, 1, true},
	} {
		if v := report(c.minio, c.nginx, c.disk).judge(c.work); !v.judged || v.met != c.met {
			t.Errorf("%+v: %+v", c, v)
		}
	}
	r := report(9, 9, 9)
	delete(r.Results["store-4k"], "nginx")
	if v := r.judge("store-4k"); v.judged {
		t.Error("judged with a peer left out")
	}
}

func TestFigure(t *testing.T) {
	for _, r := range []*Report{report(4, 0.7, 1), report(0.2, 30, 1), report(50, 50, 1)} {
		d := xml.NewDecoder(strings.NewReader(r.svg()))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	r := report(4, 1, 1)
	for _, rounds := range r.Results {
		delete(rounds, "minio")
		delete(rounds, "nginx")
	}
	if r.svg() != "" {
		t.Error("a comparison with nothing")
	}
}

func TestTable(t *testing.T) {
	md := report(4, 1, 1).markdown()
	if !strings.Contains(md, "| 1,000,000/s ") && !strings.Contains(md, "500,000/s (250,000–1,000,000)") {
		t.Error(md)
	}
	plain := plainTable("text\n\n| a | bb |\n|---|---|\n| ccc | **d** |\n\n")
	if want := "text\n\na    bb\nccc  d\n\n"; plain != want {
		t.Errorf("%q, want %q", plain, want)
	}
}
