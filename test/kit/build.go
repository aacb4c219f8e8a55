// Package kit starts real EFS servers for tests: the shipped binaries, as
// processes of their own, on roots and ports of their own.
package kit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "efs-bin-")
	if err != nil {
		return "", err
	}
	args := []string{"build"}
	if raceEnabled {
		args = append(args, "-race")
	}
	_, file, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(file), "..", "..")
	cmd := exec.Command("go", append(args, "-o", dir+"/", "./cmd/efs-server", "./cmd/efsctl", "./cmd/efs", "./cmd/efsc")...)
	cmd.Dir = module
	if msg, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("building the binaries: %w\n%s", err, msg)
	}
	return dir, nil
})

// Main is for TestMain: it runs the tests and removes the binaries.
func Main(m *testing.M) {
	code := m.Run()
	if dir, err := binaries(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Bin returns the path of a binary, built once for a test process; with the
// race detector if the test has it.
func Bin(t testing.TB, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
