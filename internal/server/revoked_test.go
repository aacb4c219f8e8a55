package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand"
	"net/netip"
	"testing"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
)

// A proxy's connection carries the requests of many and is not cut when one of
// them loses something. Where the certificate is all that is demanded there is
// no session that could end either. What runs ends all the same, and what
// others have running goes on.
func TestWhatRunsThroughAProxyEndsWithItsRights(t *testing.T) {
	proxied := func(_ *node.Config, _ *Config, l *Listener) {
		l.ClientCert = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		l.Factors = Factors{Certificate: true}
	}
	take := map[string]func(w *world, p *person){
		"grant": func(w *world, p *person) { w.revoke(p, "read", p.fs+":/") },
		"user":  func(w *world, p *person) { must(w.t, w.node.DeleteUser(context.Background(), p.fs, p.name)) },
		"revoke": func(w *world, p *person) {
			u, _ := w.node.Users(p.fs)
			must(w.t, u.Revoke(context.Background(), p.name))
		},
	}
	for name, take := range take {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, proxied)
			big := make([]byte, 12<<20)
			rand.New(rand.NewSource(1)).Read(big)
			as := func(who string) *actor {
				a := w.dial().oldHTTP()
				a.header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(w.people[who].cert.Certificate[0])+":")
				return a
			}
			alice, bob := as("alice@docs"), as("bob@docs")
			alice.do("PUT", "/data/big", big).want(201)
			users, err := w.node.Users("docs")
			must(t, err)
			must(t, users.SetLimits(t.Context(), "", access.Limits{Bandwidth: 8 << 20})) // lest it is all on its way at once
			read := func(a *actor) io.ReadCloser {
				resp, err := a.http.Transport.(conforms).tr.RoundTrip(a.request("GET", "/data/big", nil)) // conforms reads all of it first
				must(t, err)
				if resp.StatusCode != 200 {
					t.Fatal(resp.Status)
				}
				_, err = io.CopyN(io.Discard, resp.Body, 1<<20)
				must(t, err)
				return resp.Body
			}
			body, other := read(alice), read(bob)
			defer body.Close()
			defer other.Close()
			r, in := io.Pipe()
			sent := make(chan *reply, 1)
			go func() { sent <- alice.do("PUT", "/data/new", r) }()
			_, err = in.Write(big[:1<<16])
			must(t, err)
			take(w, w.people["alice@docs"])
			if n, err := io.Copy(io.Discard, body); err == nil {
				t.Errorf("the download went on to its end: %d more bytes", n)
			}
			if n, err := io.Copy(io.Discard, other); err != nil || n != int64(len(big))-1<<20 {
				t.Errorf("another user's download ended after %d: %v", n, err)
			}
			if name != "grant" {
				go func() { in.Write(big[:1<<18]); in.Close() }()
				if got := <-sent; got.status < 400 {
					t.Errorf("the upload was stored: %d", got.status)
				}
				return
			}
			_, err = in.Write(big[:1<<16])
			must(t, err)
			in.Close()
			(<-sent).want(201) // which is still permitted
			alice.do("GET", "/data/big", nil).want(403)
		})
	}
}

// What neither reads nor writes for long ends too.
func TestACopyThroughAProxyEndsWithItsUser(t *testing.T) {
	for _, factors := range []Factors{{Certificate: true}, {Certificate: true, Basic: true, Token: true}} {
		w := newWorld(t, func(_ *node.Config, _ *Config, l *Listener) {
			l.ClientCert = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			l.Factors = factors
		})
		p := w.people["alice@docs"]
		a := w.dial()
		a.header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(p.cert.Certificate[0])+":")
		if factors.Token {
			a.login(p)
		}
		const files = 300
		for i := range files {
			a.do("PUT", fmt.Sprintf("/data/from/%d", i), "x").want(201)
		}
		f, err := w.node.FS("docs")
		must(t, err)
		copied := func() int {
			entries, _, err := f.List(t.Context(), "", listAll)
			must(t, err)
			return len(entries) - files - 2
		}
		answer := make(chan *reply, 1)
		go func() { answer <- a.do("COPY", "/data/from", nil, "Destination: /data/to") }()
		eventually(t, "the copy has begun", func() bool { return copied() > 0 })
		must(t, f.Users.DeleteUser(t.Context(), "alice"))
		if r := <-answer; r.status < 400 {
			t.Errorf("%v: answered %d", factors, r.status)
		}
		if n := copied(); n == files {
			t.Errorf("%v: all %d files were copied", factors, n)
		}
	}
}
