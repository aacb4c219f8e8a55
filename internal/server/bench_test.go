package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
)

// quiet logs as a server does that is told to log errors only.
func quiet(_ *node.Config, c *Config, _ *Listener) { c.Logger = slog.New(slog.DiscardHandler) }

func benchmark4K(b *testing.B, method string, path func(n int64) string, body []byte) {
	w := newWorld(b, quiet)
	a := w.as("alice@docs").oldHTTP()
	plain := &http.Client{Transport: a.http.Transport.(conforms).tr} // without the contract's checks
	for i := range int64(256) {
		a.do("PUT", fmt.Sprintf("/data/d/%d", i), make([]byte, 4096)).want(201)
	}
	var count atomic.Int64
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var in any
			if body != nil {
				in = body
			}
			resp, err := plain.Do(a.request(method, path(count.Add(1)), in))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode/100 != 2 {
				b.Fatal(resp.Status)
			}
		}
	})
}

func BenchmarkGet4K(b *testing.B) {
	benchmark4K(b, "GET", func(n int64) string { return fmt.Sprintf("/data/d/%d", n%256) }, nil)
}

func BenchmarkPut4K(b *testing.B) {
	benchmark4K(b, "PUT", func(n int64) string { return fmt.Sprintf("/data/d/new-%d", n) }, make([]byte, 4096))
}

// BenchmarkMay is what a request pays for the question who may what, by a user
// about whom nothing was said and by one with grants.
func BenchmarkMay(b *testing.B) {
	w := newWorld(b, quiet)
	w.addUserWithout("docs", "dave", "reader docs:/d/", "reader docs:/e/", "writer docs:/f/g/")
	for _, user := range []string{"alice", "dave"} {
		b.Run(user, func(b *testing.B) {
			who, err := w.server.member("docs")
			must(b, err)
			who.user, who.rights, who.rightsAt = user, who.users.Rights(user), who.users.Generation()
			x := &exchange{s: w.server, who: who}
			t := target{route: routeData, path: "d/e/f/123"}
			b.ReportAllocs()
			for b.Loop() {
				x.aim(t)
				if err := x.may(access.Read, t.path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
