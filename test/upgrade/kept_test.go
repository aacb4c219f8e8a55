package upgrade

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// kept is a root that the previous release wrote, with its starter key, which
// opens nothing else: made by go test ./test/upgrade -run Kept -update.
const kept = "testdata/previous.tar.gz"

var update = flag.Bool("update", false, "write the root that is kept anew, with the previous release")

// keptFiles is what is in it.
func keptFiles() *tree {
	tr := newTree()
	for path, n := range map[string]int{"/plain/small": 100, "/plain/empty": 0, "/patients/1/small": 200, "/plain/content": 20 << 10, "/patients/1/content": 21 << 10} {
		tr.files[path] = kit.Pattern(uint64(n), n)
	}
	return tr
}

// keptRoot unpacks it and starts the present server on it.
func keptRoot(t *testing.T) (*kit.Server, *tree) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", kept, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Its own users' certificates have expired some day; one is made.
	s := kit.Existing(t, filepath.Join(dir, "efs"), filepath.Join(dir, "starter.key"), "later")
	return s, keptFiles()
}

func TestKeptRootIsThePreviousReleases(t *testing.T) {
	if !*update {
		info, err := os.Stat(kept)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 300<<10 {
			t.Errorf("%s has %d bytes, too many to be kept with the sources", kept, info.Size())
		}
		return
	}
	s, _ := olderRoot(t)
	tr, c := newTree(), s.Client()
	for path, body := range keptFiles().files {
		tr.put(t, c, path, body, client.PutOptions{})
	}
	clean(t, s)
	s.Stop()
	dir := t.TempDir()
	script := `mkdir -p testdata "$3" && cp -r "$1" "$3/efs" && cp "$2" "$3/starter.key" && rm -f "$3"/efs/.server/*.sock "$3"/efs/.server/lock &&
		tar -C "$3" --sort=name --owner=0 --group=0 --numeric-owner --sparse -czf "$4" efs starter.key`
	if out, err := exec.Command("sh", "-c", script, "sh", s.Root, s.KeyFile, dir, kept).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
