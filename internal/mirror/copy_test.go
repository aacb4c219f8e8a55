package mirror

import (
	"errors"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/treesync"
)

// A copy that the server makes replaces what was listed, and nothing that has
// come since; which side has changed is told.
func TestACopyOnTheServerReplacesWhatWasListed(t *testing.T) {
	p := drive(t)
	from, to := p, p
	from.Path, to.Path = p.Path+"/from", p.Path+"/to"
	put := func(path, text string) string {
		s, err := p.Client.Put(t.Context(), path, strings.NewReader(text), client.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s.ETag
	}
	m, err := Open(Options{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	now := func(s side) *treesync.Node {
		n, err := s.stat(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(from.Path+"/f", "new")
	put(to.Path+"/f", "old")
	a := &treesync.Action{Op: treesync.Replace, Path: "f", Source: now(m.src), Dest: now(m.dst)}
	put(to.Path+"/f", "somebody else's")
	if err := m.content(t.Context(), a); !errors.Is(err, errMoved) {
		t.Errorf("the destination changed: %v", err)
	}
	if b, err := p.Client.ReadFile(t.Context(), to.Path+"/f"); err != nil || string(b) != "somebody else's" {
		t.Errorf("%q, %v", b, err)
	}
	a.Dest = now(m.dst)
	put(from.Path+"/f", "newer")
	if err := m.content(t.Context(), a); !errors.Is(err, errSourceMoved) {
		t.Errorf("the source changed: %v", err)
	}
	a.Source = now(m.src)
	if err := m.content(t.Context(), a); err != nil {
		t.Error(err)
	}
	if b, err := p.Client.ReadFile(t.Context(), to.Path+"/f"); err != nil || string(b) != "newer" {
		t.Errorf("%q, %v", b, err)
	}
}
