// Package upgrade goes from the release before this one to this one and back:
// real binaries of both, on one root. docs/releases.md says what is promised.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// previous is the release before this one: a commit of this repository. Who
// makes a release moves it on.
const previous = "7153e2988b5cdde98ea92eb64f602d88250de413"

// errNoHistory: the sources come without the commit of the previous release.
var errNoHistory = errors.New("these sources have no history with the previous release: it cannot be built")

// buildPrevious returns the directory of the previous release's efs-server and
// efsctl, built once and kept in the user's cache.
func buildPrevious(ctx context.Context) (string, error) {
	if err := exec.CommandContext(ctx, "git", "cat-file", "-e", previous+"^{commit}").Run(); err != nil {
		return "", errNoHistory
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "efs-test", previous[:12]+"-"+runtime.Version())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	script := `git -C "$(git rev-parse --show-toplevel)" archive "$1" | tar -x -C "$2" && cd "$2" &&
		CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/ ./cmd/efs-server ./cmd/efsctl`
	if out, err := exec.CommandContext(ctx, "sh", "-c", script, "sh", previous, work).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the previous release: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(filepath.Join(work, "bin"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Stat(dir); there != nil { // another test has not built it meanwhile
			return "", err
		}
	}
	return dir, nil
}
