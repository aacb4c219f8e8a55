package vault_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the example anew")

// example is a Transit key, as Vault backs it up, and what was wrapped under
// it in format 1.
type example struct {
	Backup  string `json:"backup"`
	Wrapped []byte `json:"wrapped"`
	Key     []byte `json:"key"`
}

const exampleFile = "testdata/transit-1.json"

// What format 1 wrapped must open for ever.
func TestExampleOpens(t *testing.T) {
	if *update {
		writeExample(t)
	}
	var e example
	text, err := os.ReadFile(exampleFile)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	s.Mount("transit", "transit", nil)
	s.Write("transit/restore/a", map[string]any{"backup": e.Backup})
	wrapped{t, openTransit(t, s.transit("efs-transit")), e.Key, e.Wrapped}.mustOpen("of the example")
}

func writeExample(t *testing.T) {
	t.Helper()
	s := withKey(t)
	w := wrap(t, openTransit(t, s.transit("efs-transit")))
	s.Write("transit/keys/a/config", map[string]any{"exportable": true, "allow_plaintext_backup": true})
	backup, err := s.Root.Logical().Read("transit/backup/a")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(example{backup.Data["backup"].(string), w.bytes, w.key}, "", "  ")
	if err != nil || bytes.Contains(text, []byte("null")) {
		t.Fatalf("%s, %v", text, err)
	}
	if err := os.WriteFile(exampleFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
