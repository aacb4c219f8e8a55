package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/efs-project/efs/test/kit"
)

// The settings that are handed out with the image hold, and so does every
// setting in them that is only a comment.
func TestDeployedSettings(t *testing.T) {
	shipped, err := os.ReadFile("../../deploy/docker/efs.toml")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^#([a-z_]+ = |\[)`).ReplaceAll(shipped, []byte("$1"))
	if string(all) == string(shipped) {
		t.Fatal("no setting was found among the comments")
	}
	for name, settings := range map[string][]byte{"as it is": shipped, "with all that is a comment": all} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "efs.toml")
			if err := os.WriteFile(file, settings, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(kit.Bin(t, "efs-server"), "config", "check", file).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
