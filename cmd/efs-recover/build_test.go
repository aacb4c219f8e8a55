package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// efs-recover is for the day when nothing else is left: it must not need, nor
// bring along, what serves.
func TestItHasNoServerCode(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		name, ours := strings.CutPrefix(pkg, "github.com/efs-project/efs/")
		if pkg == "net/http" || strings.Contains(pkg, "opentelemetry") {
			t.Errorf("it is built with %s", pkg)
		}
		for _, no := range []string{"client", "internal/server", "internal/node", "internal/fsys", "internal/admin", "internal/access", "internal/session"} {
			if ours && (name == no || strings.HasPrefix(name, no+"/")) {
				t.Errorf("it is built with %s", pkg)
			}
		}
	}
}

// It is built for every system that a safe may be opened on, small and
// without a C library.
func TestItIsBuiltForEverySystem(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the standard library five times where that was not done before")
	}
	const most = 15 << 20
	for _, target := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"} {
		system, arch, _ := strings.Cut(target, "/")
		binary := filepath.Join(t.TempDir(), "efs-recover")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", target, err, out)
			continue
		}
		info, err := os.Stat(binary)
		if err != nil || info.Size() > most {
			t.Errorf("%s: %d bytes, %v", target, info.Size(), err)
		}
		if err := os.Remove(binary); err != nil {
			t.Fatal(err)
		}
	}
}
