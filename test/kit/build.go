// Package kit starts real EFS servers for tests: the shipped binaries, as
// processes of their own, on roots and ports of their own.
package kit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/efs-project/efs/internal/israce"
)

// A run of many test packages builds the binaries once: prebuilt names their
// directory, and fingerprint their bytes, so that the go command does not take
// the result of a test of other binaries from its cache.
const (
	prebuilt    = "EFS_TEST_BIN"
	fingerprint = "EFS_TEST_BUILD"
)

var binaries = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(prebuilt); dir != "" {
		if os.Getenv(fingerprint) == "" {
			return "", fmt.Errorf("%s is set without %s: use make test", prebuilt, fingerprint)
		}
		return dir, nil
	}
	if israce.Enabled {
		return build("-race")
	}
	return build()
})

// shipped holds the binaries as they are shipped: the race detector multiplies
// memory and the time that a start takes.
var shipped = sync.OnceValues(func() (string, error) { return build() })

// dumpable holds binaries whose memory a test may read.
var dumpable = sync.OnceValues(func() (string, error) { return build("-tags", "efs_dumpable") })

// Dumpable returns the path of a binary whose memory a test may read.
func Dumpable(t testing.TB, name string) string {
	t.Helper()
	dir, err := dumpable()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// Shipped returns the path of a binary as it is shipped.
func Shipped(t testing.TB, name string) string {
	t.Helper()
	dir, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// built are the directories to be removed.
var built []string

func build(args ...string) (string, error) {
	dir, err := os.MkdirTemp("", "efs-bin-")
	if err != nil {
		return "", err
	}
	built = append(built, dir)
	src, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/efs-project/efs").Output()
	if err != nil {
		return "", fmt.Errorf("finding the sources: %w", err)
	}
	args = append(append([]string{"build"}, args...), "-o", dir+"/", "./cmd/...")
	cmd := exec.Command("go", args...)
	cmd.Dir = strings.TrimSpace(string(src))
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binaries: %w\n%s", err, msg)
	}
	return dir, nil
}

// Main is for TestMain: it runs the tests and removes the binaries.
func Main(m *testing.M) {
	code := m.Run()
	for _, dir := range built {
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
