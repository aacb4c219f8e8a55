package vaultkv

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

var (
	update  = flag.Bool("update", false, "write the example anew")
	binding = efs.Binding{Purpose: "epoch", FS: efs.ID{1}, Stage: 1, Epoch: 3, Key: efs.ID{2}}
	plain   = bytes.Repeat([]byte{7}, 32)
)

// What was kept in Vault in format 1, and what it wrapped, must open for ever.
func TestExampleOpens(t *testing.T) {
	if *update {
		writeExample(t)
	}
	s, wrapped := &stored{}, []byte{}
	text, err := os.ReadFile("testdata/key-1.json")
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err == nil {
		text, err = os.ReadFile("testdata/wrap-1.hex")
	}
	if err == nil {
		wrapped, err = hex.DecodeString(strings.TrimSpace(string(text)))
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.load("a")
	if err != nil {
		t.Fatal(err)
	}
	defer m.wipe()
	info := m.info("hq", "a")
	if info.State != efs.KeyPendingDeletion || info.Version != 2 || info.Created.Year() != 2026 || info.DeleteAt.Sub(info.Created) != MinDeletionWait ||
		info.Description != "of the payroll" || info.Tags["cost"] != "42" {
		t.Errorf("%+v", info)
	}
	if got, err := label.Unwrap(m.versions[1].key, "a", wrapped, binding); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%x, %v", got, err)
	}
	for _, v := range s.Versions {
		if !bytes.Equal(v.Key, make([]byte, 32)) {
			t.Error("loading left material behind")
		}
	}
}

func writeExample(t *testing.T) {
	t.Helper()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	m, err := newMaster(at, efs.KeyOptions{Description: "of the payroll", Tags: map[string]string{"cost": "42"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.wipe()
	v, err := newVersion(at)
	if err != nil {
		t.Fatal(err)
	}
	m.versions = append(m.versions, v)
	m.state, m.deleteAt = efs.KeyPendingDeletion, at.Add(MinDeletionWait)
	s, err := m.store()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := label.Wrap(v.key, "a", 2, plain, binding)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"key-1.json": text, "wrap-1.hex": []byte(hex.EncodeToString(wrapped))} {
		if err := os.WriteFile(filepath.Join("testdata", name), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
