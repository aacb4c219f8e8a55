package starter

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

func portableKey(t *testing.T) *secret.Key {
	t.Helper()
	k, err := secret.NewKey(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnExportedBoxIsTheSameElsewhere(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	box, err := CreateBox(here, portableKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"one": "first secret", "two": "second secret"} {
		if err := box.Put(name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	exported, err := box.Export()
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range [][]byte{[]byte("first secret"), bytes.Repeat([]byte{5}, 32)} {
		if bytes.Contains(exported, clear) {
			t.Error("it holds something readable")
		}
	}
	for range 2 { // the second time nothing happens
		if err := Unpack(there, exported); err != nil {
			t.Fatal(err)
		}
	}
	other, err := secret.NewKey(bytes.Repeat([]byte{6}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBox(there, other); !errors.Is(err, efs.ErrWrongKey) {
		t.Errorf("with another starter key: %v", err)
	}
	again, err := OpenBox(there, portableKey(t))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, err := again.Get("two"); err != nil || string(got) != "second secret" || again.RootID() != box.RootID() {
		t.Errorf("%q, %v", got, err)
	}
	box.Close()
}

// An Unpack that was cut off leaves no root that seems initialised, and can be
// done again.
func TestUnpackCutOff(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	box, err := CreateBox(here, portableKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := box.Put("one", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	exported, err := box.Export()
	if err != nil {
		t.Fatal(err)
	}
	if err := Unpack(there, exported); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(there, rootFile)); err != nil { // what is written last
		t.Fatal(err)
	}
	if _, err := BoxState(there); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("half of it: %v", err)
	}
	if err := Unpack(there, exported); err != nil {
		t.Fatal(err)
	}
	again, err := OpenBox(there, portableKey(t))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestWhatIsNoExportedBoxIsRefused(t *testing.T) {
	box, err := CreateBox(t.TempDir(), portableKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	good, err := box.Export()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*portable)) []byte {
		var p portable
		if err := json.Unmarshal(good, &p); err != nil {
			t.Fatal(err)
		}
		change(&p)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		exported []byte
		want     error
	}{
		"nothing":            {nil, efs.ErrDamaged},
		"cut":                {good[:len(good)/2], efs.ErrDamaged},
		"a later format":     {changed(func(p *portable) { p.Format = 2 }), efs.ErrUnsupported},
		"another root":       {changed(func(p *portable) { p.Root = efs.NewID() }), efs.ErrDamaged},
		"without a root":     {changed(func(p *portable) { delete(p.Files, rootFile) }), efs.ErrDamaged},
		"a name that leaves": {changed(func(p *portable) { p.Secrets = map[string][]byte{"../../x": []byte("y")} }), efs.ErrDamaged},
	} {
		dir := t.TempDir()
		if err := Unpack(dir, c.exported); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s: something was written", name)
		}
	}
}
