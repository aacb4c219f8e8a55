package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
)

// A feed ends with its session also where changes come so often that it never
// waits for as long as a heartbeat.
func TestABusyFeedEndsWithItsSession(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, quick, func(c *node.Config, _ *Config, _ *Listener) {
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	a := w.as("alice@docs")
	f, err := w.node.FS("docs")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for i := 0; ctx.Err() == nil; i++ {
			_, err := f.Put(context.Background(), fmt.Sprintf("f%d", i%10), bytes.NewReader([]byte("x")), fsys.PutOptions{Size: 1})
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	defer func() { cancel(); <-writer }()
	feed, err := a.http.Do(a.request("GET", "/changes?follow=true", nil))
	must(t, err)
	defer feed.Body.Close()
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, feed.Body); ended <- err }()
	select {
	case err := <-ended:
		t.Fatalf("the feed ended while the session was alive: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	ahead.Store(int64(61 * time.Minute))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Error("the feed outlived its session")
	}
}
