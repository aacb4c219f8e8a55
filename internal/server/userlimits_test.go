package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
)

func (w *world) limit(fs, user string, l access.Limits) {
	w.t.Helper()
	f, err := w.node.FS(fs)
	must(w.t, err)
	must(w.t, f.Users.SetLimits(context.Background(), user, l))
}

func TestRequestsAboveTheUsersRateAreRefused(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.as("alice@docs"), w.as("bob@docs")
	w.limit("docs", "alice", access.Limits{Requests: 0.5})
	alice.do("GET", "/data/", nil).want(200)
	r := alice.do("GET", "/data/", nil).wantProblem(tooManyRequests)
	if n, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || n < 1 || n > 3 {
		t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
	}
	w.as2(alice).do("GET", "/data/", nil).wantProblem(tooManyRequests) // another connection of the same user
	for range 20 {
		bob.do("GET", "/data/", nil).want(200)
	}
	w.limit("docs", "alice", access.Limits{})
	alice.do("GET", "/data/", nil).want(200)
}

// as2 is the same session over a connection of its own.
func (w *world) as2(a *actor) *actor {
	b := w.dial(w.people["alice@docs"].cert)
	b.token, b.basic = a.token, a.basic
	return b
}

func TestLimitsForAllUsersYieldToAUsersOwn(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.as("alice@docs"), w.as("bob@docs")
	w.limit("docs", "", access.Limits{Requests: 0.001})
	w.limit("docs", "bob", access.Limits{})
	alice.do("GET", "/data/", nil).want(200)
	alice.do("GET", "/data/", nil).wantProblem(tooManyRequests)
	for range 5 {
		bob.do("GET", "/data/", nil).want(200)
	}
}

// A body that the server holds back is not one of a slow client, and arrives
// whole, in both directions.
func TestBandwidthHoldsBodiesBackAndCutsNone(t *testing.T) {
	w := newWorld(t, quick)
	alice := w.as("alice@docs")
	data := strings.Repeat("0123456789abcdef", 8<<10) // 128 KiB
	w.limit("docs", "alice", access.Limits{Bandwidth: 128 << 10})
	began := time.Now()
	for name, a := range map[string]*actor{"two": alice, "one": alice.oldHTTP()} {
		a.do("PUT", "/data/"+name, data).want(201)
		if r := a.do("GET", "/data/"+name, nil).want(200); r.err != nil || string(r.body) != data {
			t.Errorf("read %d bytes, %v", len(r.body), r.err)
		}
	}
	// 512 KiB at 128 KiB/s, of which a burst is free.
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("four bodies took %s in all", took)
	}
}

func TestNoUserTakesAllUploadPlaces(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Uploads = 4 })
	alice, bob := w.as("alice@docs"), w.as("bob@docs")
	hold := func(a *actor, path string) (end func()) {
		r, wr := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, err := a.http.Do(a.request("PUT", path, r))
			if err == nil {
				resp.Body.Close()
			}
		}()
		_, err := wr.Write([]byte("begun"))
		must(t, err)
		return func() { wr.Close(); <-done }
	}
	first, second := hold(alice, "/data/1"), hold(alice, "/data/2")
	eventually(t, "two uploads", func() bool { return w.server.uploads.inside() == 2 })
	big := strings.Repeat("x", SmallUpload+1)
	alice.do("PUT", "/data/3", big).wantProblem(tooManyRequests)
	alice.do("PUT", "/data/small", "small bodies need no place").want(201)
	bob.do("PUT", "/data/4", big).want(201)
	first()
	second()
	alice.do("PUT", "/data/3", big).want(201)
	w.limit("docs", "alice", access.Limits{Uploads: 1})
	third := hold(alice, "/data/5")
	eventually(t, "one upload", func() bool { return w.server.uploads.inside() == 1 })
	alice.do("PUT", "/data/6", big).wantProblem(tooManyRequests)
	third()
	if len(w.server.places.used) != 0 {
		t.Errorf("places that are not given back: %v", w.server.places.used)
	}
}

// Connections without a user's certificate are at most half of all from one
// address, so that others still get in; with one they do not count.
func TestStrangersDoNotTakeAllConnections(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Connections = 8 })
	open := func() net.Conn {
		c, err := tls.Dial("tcp", w.host, &tls.Config{RootCAs: w.roots})
		if err != nil {
			return nil
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	alice := w.as("alice@docs") // proves itself, so that it does not count
	for range 4 {
		if open() == nil {
			t.Fatal("a connection below the bound was refused")
		}
	}
	if open() != nil {
		t.Error("an address has more than half of all connections")
	}
	if n := w.server.conns.count(); n >= 8 {
		t.Errorf("%d connections of 8", n)
	}
	alice.do("GET", "/data/", nil).want(http.StatusOK)
}
