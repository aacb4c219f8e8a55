//go:build pkcs11

package hsm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/internal/scripttest"
)

// TestMain builds the binaries with what they otherwise leave out.
func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "efs-hsm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-tags", "pkcs11", "-o", dir+"/", "./cmd/efs-server", "./cmd/efsctl")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	server, err := os.ReadFile(filepath.Join(dir, "efs-server"))
	if err != nil {
		return 1, err
	}
	sum := sha256.Sum256(server)
	for name, value := range map[string]string{"EFS_TEST_BIN": dir, "EFS_TEST_BUILD": hex.EncodeToString(sum[:8])} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// TestScripts runs the transcripts in testdata.
func TestScripts(t *testing.T) { scripttest.Run(t, "testdata") }
