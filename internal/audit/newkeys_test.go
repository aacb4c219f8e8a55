package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever can write the server's volume can remove the log with the sealed
// keys of it. The server then makes new ones, and says that the heads which
// are kept elsewhere are of others.
func TestALogThatWasRemovedWithItsKeysIsNoticed(t *testing.T) {
	for _, where := range []string{"keyring", "file"} {
		t.Run(where, func(t *testing.T) {
			heads := filepath.Join(t.TempDir(), "heads")
			w := newWorld(t, func(o *Options) {
				if where == "keyring" {
					o.Apart = &memory{}
				} else {
					o.Sinks = []HeadSink{NewFileSink(heads)}
				}
			})
			w.store(3)
			must(t, w.log.Close())
			must(t, os.RemoveAll(w.dir))
			for _, name := range []string{secretFirst, secretSign, secretState} {
				must(t, os.Remove(filepath.Join(w.root, ".server", "sealed", name+".sealed")))
			}
			w.open()
			w.store(3)
			must(t, w.log.Close())
			if r := w.verify(); r.Bad == nil || !strings.Contains(r.Bad.Why, "another key") {
				t.Errorf("%+v", r.Bad)
			}
		})
	}
}

// A head of this server's log that another key signed is no head of another
// log, which would be passed over.
func TestVerifyingAgainstHeadsOfOtherKeysFails(t *testing.T) {
	w := newWorld(t)
	w.store(3)
	head, err := w.log.SignHead(t.Context())
	must(t, err)
	kept := [][]byte{append(head, '\n')}
	must(t, w.log.Close())
	must(t, os.RemoveAll(w.dir))
	for _, name := range []string{secretFirst, secretSign, secretState} {
		must(t, os.Remove(filepath.Join(w.root, ".server", "sealed", name+".sealed")))
	}
	w.open()
	w.store(3)
	must(t, w.log.Close())
	w.good()
	if r := w.verify(func(c *Check) { c.Heads = kept }); r.Bad == nil || !strings.Contains(r.Bad.Why, "another key") {
		t.Errorf("%+v", r)
	}

	other := newWorld(t) // its heads may lie in the same file
	other.store(1)
	foreign, err := other.log.SignHead(t.Context())
	must(t, err)
	w.good(func(c *Check) { c.Heads = [][]byte{append(foreign, '\n')} })
}
