package vault_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
)

// The newest head of the audit log and of each index is kept in Vault and read
// back, with exactly the policies of the documentation; other roots' are apart.
func TestHeadsAreKeptInVault(t *testing.T) {
	s := start(t)
	s.mountKV()
	k := openKV(t, s.kv("efs-kv", "efs-kv-heads"))
	root, other := efs.NewID(), efs.NewID()
	sink := audit.NewNoteSink("hq", k, root)
	if all, err := sink.Heads(); err != nil || len(all) != 0 {
		t.Fatalf("before the first: %q, %v", all, err)
	}
	one := []byte(`{"v":1,"kind":"index","root":"` + root.String() + `","fs":"` + efs.NewID().String() + `","revision":1}` + "\n")
	two := []byte(`{"v":1,"kind":"index","root":"` + root.String() + `","fs":"` + efs.NewID().String() + `","revision":1}` + "\n")
	for _, line := range [][]byte{[]byte("{\"v\":1,\"seq\":1}\n"), one, two, []byte("{\"v\":1,\"seq\":2}\n")} {
		if err := sink.PutHead(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	if err := audit.NewNoteSink("hq", k, other).PutHead(t.Context(), []byte("another root's\n")); err != nil {
		t.Fatal(err)
	}
	all, err := sink.Heads()
	slices.SortFunc(all, bytes.Compare)
	want := [][]byte{one, two, []byte("{\"v\":1,\"seq\":2}\n")}
	slices.SortFunc(want, bytes.Compare)
	if err != nil || !slices.EqualFunc(all, want, bytes.Equal) {
		t.Errorf("kept %q, want %q; %v", all, want, err)
	}
	keys, err := openKV(t, s.kv("efs-kv", "efs-kv-admin")).ListKeys(t.Context())
	if err != nil || len(keys) != 0 {
		t.Errorf("heads are taken for keys: %v, %v", keys, err)
	}
}
