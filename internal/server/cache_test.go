package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/contentcache"
	"github.com/efs-project/efs/internal/node"
)

// What comes out of the cache of decrypted files is told by nothing in the
// answer.
func TestTheCacheIsNotSeen(t *testing.T) {
	cache, err := contentcache.Open(contentcache.Options{
		Size: 4 << 20, MaxFile: 1 << 20, Where: contentcache.Memory, TTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, cache.Close()) }) // after the node
	w := newWorld(t, func(c *node.Config, _ *Config, _ *Listener) { c.Cache = cache })
	a := w.as("alice@docs")
	for path, n := range map[string]int{"/data/small": 3000, "/data/large": 300_000} {
		body := bytes.Repeat([]byte("0123456789"), n/10)
		etag := a.do("PUT", path, body, "Content-Type: image/png", "EFS-Meta-a: b").want(201).header.Get("ETag")
		ways := [][]string{
			{}, {"Range: bytes=5-1999"}, {"Range: bytes=-7"}, {"Range: bytes=1-3,9-11"}, {"Range: bytes=9999999-"},
			{"If-None-Match: " + etag}, {`If-Match: "other"`}, {"If-Range: " + etag, "Range: bytes=1-"},
		}
		const multipart = 3 // of ways: its boundary is random
		ask := func(before func()) (all []*reply) {
			for _, headers := range ways {
				for _, method := range []string{"GET", "HEAD"} {
					before()
					all = append(all, a.do(method, path, nil, append(headers, "X-Request-Id: same")...))
				}
			}
			return all
		}
		w.node.ClearCache()
		a.do("GET", path, nil).want(200) // fills it
		before := w.node.CacheStats()
		cached := ask(func() {})
		if after := w.node.CacheStats(); after.Hits < before.Hits+6 || after.Misses != before.Misses {
			t.Errorf("%s: %+v, then %+v: it was not read from the cache", path, before, after)
		}
		for i, want := range ask(func() { w.node.ClearCache() }) {
			got := cached[i]
			sameBody := bytes.Equal(got.body, want.body) || i/2 == multipart && len(got.body) == len(want.body)
			if got.status != want.status || !sameBut(got.header, want.header, "Date") || !sameBody {
				t.Errorf("%s, %v: %d %v\nwithout the cache: %d %v", path, ways[i/2], got.status, got.header, want.status, want.header)
			}
		}
	}
	a.do("DELETE", "/data/small", nil).want(204)
	a.do("GET", "/data/small", nil).wantProblem(notFound)
	w.as("bob@docs").do("GET", "/data/large", nil).want(200)
	w.as("carol@other").do("GET", "/data/large", nil).wantProblem(notFound)
}

// sameBut compares headers but for some, and for the boundaries of multiparts,
// which are random.
func sameBut(a, b http.Header, but ...string) bool {
	a, b = a.Clone(), b.Clone()
	for _, h := range []http.Header{a, b} {
		for _, name := range but {
			h.Del(name)
		}
		if ct := h.Get("Content-Type"); len(ct) > 20 && ct[:20] == "multipart/byteranges" {
			h.Set("Content-Type", ct[:20])
		}
	}
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if a.Get(name) != b.Get(name) {
			return false
		}
	}
	return true
}
