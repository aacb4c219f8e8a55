package server

import (
	"io"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/node"
)

// Limits that are changed while the server serves hold from the next request,
// and end nothing that is under way.
func TestTune(t *testing.T) {
	w := newWorld(t, func(_ *node.Config, c *Config, _ *Listener) { c.Limits.Uploads = 8 })
	a, b := w.as("alice@docs"), w.as("bob@docs")
	big := strings.Repeat("x", SmallUpload+1)
	a.do("PUT", "/data/big", big).want(201)

	pr, pw := io.Pipe()
	done := make(chan *reply)
	go func() { done <- a.do("PUT", "/data/long", io.Reader(pr)) }()
	_, err := pw.Write([]byte("begun"))
	must(t, err)
	eventually(t, "the upload is under way", func() bool { return w.server.uploads.inside() == 1 })
	w.server.Tune(Limits{Uploads: 1, Body: SmallUpload})
	b.do("PUT", "/data/other", big).wantProblem(bodyTooLarge)
	w.server.Tune(Limits{Uploads: 1})
	b.do("PUT", "/data/other", big).wantProblem(tooBusy)
	w.server.Tune(Limits{Uploads: 2})
	b.do("PUT", "/data/other", big).want(201)
	pw.Close()
	(<-done).want(201)
	if n := w.server.uploads.inside() + w.server.requests.inside(); n != 0 {
		t.Errorf("%d places are not given back", n)
	}
}
