package main

import (
	"os/exec"
	"testing"

	"github.com/efs-project/efs/test/kit"
)

// A volume that was mounted so that nothing can be written to it is enough.
func TestFromAReadOnlyMount(t *testing.T) {
	v := filled(t)
	v.Kill()
	at := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-o", "bind,ro", v.Root, at).CombinedOutput(); err != nil {
		t.Skipf("mounting is for root with the right to: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", at).Run() })
	out, _ := recoverWith(t, 0, "--root", at, "--fs", kit.FS, "--starter-key-file", v.KeyFile)
	same(t, "from a read-only mount", contents(t, out), v.files)
}

// While a server has the index, its journal gives what is stored, seconds later.
func TestJournalBesideARunningServer(t *testing.T) {
	v := filled(t)
	v.journaled(t)
	var log string
	for range 100 {
		var out []byte
		out, log = v.recovered(t, -1, "--starter-key-file", v.KeyFile)
		if len(contents(t, out)) == len(v.files) {
			same(t, "by the journal", contents(t, out), v.files)
			return
		}
	}
	t.Errorf("the journal never has everything:\n%s", log)
}
