package archive

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/efs-project/efs/seal"
)

// exampleFiles is what the examples in testdata hold. It must never change.
func exampleFiles() []file {
	var lines strings.Builder
	for i := range 60000 {
		fmt.Fprintf(&lines, "line %06d of a long file, which compresses well\n", i)
	}
	noise := make([]byte, 150<<10)
	rand.NewChaCha8([32]byte{42}).Read(noise)
	return append(tree(), newFile("z/lines.txt", lines.String()), newFile("z/noise", string(noise)))
}

func exampleRemoved() []string { return []string{"gone", "letters/also gone"} }

// TestExamplesOpenForEver opens archives that were written once and for all.
func TestExamplesOpenForEver(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "private-key.txt"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.ParseIdentity(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ids     []seal.Identity
		since   uint64
		removed []string
	}{
		"passphrase.efs.tar.gz.aes":  {ids: passIDs},
		"public-key.efs.tar.gz.aes":  {ids: []seal.Identity{key}},
		"incremental.efs.tar.gz.aes": {ids: passIDs, since: 4000, removed: exampleRemoved()},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(bytes.NewReader(b), int64(len(b)), c.ids, Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		want := testInfo()
		want.Since, want.mark = c.since, r.Info().mark
		if r.Info() != want {
			t.Errorf("%s: head %+v", name, r.Info())
		}
		files, removed, err := readAll(r)
		if err != nil || !reflect.DeepEqual(removed, c.removed) || !reflect.DeepEqual(files, exampleFiles()) {
			t.Errorf("%s: %d files, removed %q, %v", name, len(files), removed, err)
		}
		r.Close()
	}
}
