package access

import (
	"errors"
	"path"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// Whatever a newer release keeps in another format is refused, and said to be
// newer, not damaged alone.
func TestNewerRecordsAreRefused(t *testing.T) {
	newer, err := detcbor.Marshal(map[int]any{1: 9, 30: "what nobody knows yet"})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, errNewer) || !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s of a newer release: %v", what, err)
		}
	}
	_, err = decodeUser("app1", newer)
	refused("a user", err)
	_, err = decodeHolding("user/app1", newer)
	refused("grants", err)
	d, store := newDirectory(t)
	for name, load := range map[string]func() error{
		kindCA + "/" + caUsers:    func() error { _, _, err := readCA(ctx, "user-data", store); return err },
		kindCA + "/" + caUsersOld: func() error { _, _, err := readOldCAs(ctx, "user-data", store); return err },
		kindLimit + "/app1":       func() error { return d.loadLimits(ctx) },
	} {
		was := store.records[name]
		store.records[name] = efs.AccessRecord{Name: path.Base(name), Value: newer, Version: 1}
		refused(name, load())
		if store.records[name] = was; was.Name == "" {
			delete(store.records, name)
		}
	}
	if err := unreadable([]byte("garbage"), 1); errors.Is(err, errNewer) {
		t.Errorf("garbage: %v", err)
	}
}
