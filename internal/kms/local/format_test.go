package local

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
)

// What every format held, as it was written then. The keys are of no root.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var fixtureBinding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}

// Every format opens, unwraps what was wrapped then, and becomes the newest
// with the first change.
func TestOldFormats(t *testing.T) {
	want := bytes.Repeat([]byte{0x42}, secret.Size)
	for _, format := range []string{"format1", "format2"} {
		box, _ := newBox(t)
		if err := box.Put(boxName, fixture(t, format+".hex")); err != nil {
			t.Fatal(err)
		}
		k := mustOpen(t, box)
		for _, version := range []string{"1", "2"} {
			got, err := k.Unwrap(t.Context(), "a", fixture(t, "wrap"+version+".hex"), fixtureBinding)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, version %s: %x, %v", format, version, got, err)
			}
		}
		infos, err := k.ListKeys(t.Context())
		if err != nil || len(infos) != 2 || infos[0].Version != 2 || infos[1].State != efs.KeyDisabled {
			t.Errorf("%s: %+v, %v", format, infos, err)
		}
		if format == "format2" {
			if infos[0].Description != "a key" || infos[0].Tags["team"] != "payroll" {
				t.Errorf("options: %+v", infos[0])
			}
			if _, err := k.find("gone"); err == nil || !strings.Contains(err.Error(), "was deleted at 2001-09-09") {
				t.Errorf("a deleted key: %v", err)
			}
		}
		if _, err := k.EnableKey(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		var now storedKeys
		if err := detcbor.Unmarshal(stored(t, box), &now); err != nil || now.Format != storeFormat {
			t.Errorf("%s became format %d, %v", format, now.Format, err)
		}
	}
}
