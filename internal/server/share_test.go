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
