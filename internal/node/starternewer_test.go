package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestAStarterFileOfANewerReleaseIsRefused(t *testing.T) {
	n := &Node{cfg: newRig(t).config()}
	if err := os.MkdirAll(filepath.Dir(n.starterPath()), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"format": 2, "what nobody knows yet": true}`: "written by a newer EFS, start that one",
		`{"format": 1, "what nobody knows yet": true}`: efs.ErrDamaged.Error(),
		`{}`: efs.ErrDamaged.Error(),
	} {
		if err := os.WriteFile(n.starterPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := n.readStarter()
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, efs.ErrDamaged) == strings.Contains(want, "newer") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
