package server

import (
	"net/http"
	"testing"

	"github.com/efs-project/efs"
)

// Uploads that do not count against the limit are those that need no more than
// one buffer each.
func TestSmallUploadsAreStoredInline(t *testing.T) {
	if limit := efs.DefaultPolicy().InlineLimit; SmallUpload > limit {
		t.Errorf("uploads up to %d bytes are not counted, but above %d they take the buffers of a stream", SmallUpload, limit)
	}
}

// A Destination of another scheme is no URL of this server, whatever its host.
func TestDestinationOfAnotherScheme(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	a.do("PUT", "/data/f", "x").want(201)
	a.do("MOVE", "/data/f", nil, "Destination: ftp://"+w.host+"/data/g").wantProblem(badDestination)
	a.do("MOVE", "/data/f", nil, "Destination: https://"+w.host+"/data/g").want(201)
}

// "*" names nothing that could be stored or removed: only OPTIONS succeeds.
func TestAsteriskIsForOptionsAlone(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for _, method := range []string{"GET", "PUT", "POST", "DELETE", "MOVE", "MKCOL"} {
		r := a.request(method, "/", nil)
		r.URL.Opaque = "*"
		resp, err := a.http.Do(r)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != http.MethodOptions {
			t.Errorf("%s *: %s, Allow: %s", method, resp.Status, resp.Header.Get("Allow"))
		}
	}
	r := a.request(http.MethodOptions, "/", nil)
	r.URL.Opaque = "*"
	resp, err := a.http.Do(r)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("OPTIONS *: %s", resp.Status)
	}
}
