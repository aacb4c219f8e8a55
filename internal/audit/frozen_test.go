package audit

import (
	"context"
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

var freeze = flag.Bool("freeze", false, "write testdata/v1 anew (only before a format is released)")

// TestVersion1StillVerifies opens a log that was written when version 1 was
// new: two files, a cut, heads and hostile text.
func TestVersion1StillVerifies(t *testing.T) {
	const dir = "testdata/v1"
	if *freeze {
		writeFrozen(t, dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "first.key"))
	must(t, err)
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	must(t, err)
	pub, err := ReadPublic(filepath.Join(dir, PublicName))
	must(t, err)
	heads, err := ReadHeads(filepath.Join(dir, "heads"))
	must(t, err)
	r, err := Verify(Check{Dir: dir, Public: pub, First: key, Heads: heads})
	must(t, err)
	if r.Bad != nil {
		t.Fatalf("%+v", *r.Bad)
	}
	if !r.MACs || r.First == 1 || r.Files < 2 || r.Kept == 0 || r.Head != r.Last {
		t.Errorf("%+v", r)
	}
}

func writeFrozen(t *testing.T, dir string) {
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	heads := filepath.Join(t.TempDir(), "heads")
	w := newWorld(t, func(o *Options) {
		o.MaxSize, o.KeepSize, o.Sinks = 2000, 6000, []HeadSink{NewFileSink(heads)}
	})
	for range 4 {
		for range 5 {
			must(t, w.log.Commit(context.Background(), Event{Op: "file.move", User: "alice", FS: "docs", From: "192.0.2.1:4711", Method: "MOVE",
				Object: efs.NewID(), Name: []byte("a sealed label"), To: []byte("another"), Session: "s-1", Request: "r-1"}))
		}
		must(t, w.log.Commit(context.Background(), Event{Op: "auth.login", From: "[2001:db8::1]:1", Outcome: "authentication-failed", Detail: "claimed to be \"é\n\U0001f600\""}))
		must(t, w.log.Checkpoint(context.Background()))
		w.log.retain()
	}
	time.Sleep(10 * time.Millisecond)
	must(t, w.log.Close())
	first := base64.StdEncoding.EncodeToString(w.secret(secretFirst))
	must(t, os.WriteFile(filepath.Join(dir, "first.key"), []byte(first+"\n"), 0o644))
	for _, path := range append(w.files(), filepath.Join(w.dir, PublicName), heads) {
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o644))
	}
}
