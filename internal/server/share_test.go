package server

import (
	"net/http"
	"testing"

	"github.com/efs-project/efs/internal/node"
)

// Whoever watches as many feeds as he can keeps nobody else out.
func TestOneUserLeavesRoomForOthers(t *testing.T) {
	w := newWorld(t, quick, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Requests = 8 })
	alice, bob := w.as("alice@docs"), w.as("bob@docs")
	var feeds []*http.Response
	for range 4 {
		r, err := alice.http.Transport.(conforms).tr.RoundTrip(alice.request("GET", "/changes?follow=true", nil))
		must(t, err)
		defer r.Body.Close()
		feeds = append(feeds, r)
	}
	if r := alice.do("GET", "/data/", nil).wantProblem(tooManyRequests); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	bob.do("PUT", "/data/x", "x").want(201)
	must(t, feeds[0].Body.Close())
	eventually(t, "a feed has ended", func() bool { return alice.do("GET", "/data/", nil).status == 200 })
}

// Nor does who opens as many connections as he can.
func TestOneUsersConnectionsLeaveRoomForOthers(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Connections = 8 })
	hello := func(a *actor, user string) *reply {
		return a.json("POST", "/auth/hello", map[string]string{"user": user})
	}
	var first *actor
	for range 4 {
		first = w.dial(w.people["alice@docs"].cert)
		hello(first, "alice").want(200)
		hello(first, "alice").want(200) // over the same one
	}
	late := w.dial(w.people["alice@docs"].cert)
	hello(late, "alice").wantProblem(tooManyRequests)
	eventually(t, "the fifth is closed", func() bool { return w.server.conns.count() == 4 })
	hello(w.dial(w.people["bob@docs"].cert), "bob").want(200)
	first.http.CloseIdleConnections()
	first.http.Transport.(conforms).tr.(*http.Transport).CloseIdleConnections()
	eventually(t, "there is room again", func() bool { return hello(late, "alice").status == 200 })
}
