package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// target is a platform.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// The commands of a release, and those of them that other systems than Linux
// get: what one works with from there.
var (
	all     = []string{"efs", "efs-bench", "efs-recover", "efs-server", "efsc", "efsctl"}
	clients = []string{"efs", "efs-bench", "efs-recover", "efsc"}

	releases = []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}}
)

// release is one in the making.
type release struct {
	version  string
	time     time.Time
	out      string
	targets  []target
	commands []string
}

// of is what of the release's commands a target gets.
func (r *release) of(t target) []string {
	if t.os == "linux" {
		return r.commands
	}
	return slices.DeleteFunc(slices.Clone(r.commands), func(c string) bool { return !slices.Contains(clients, c) })
}

// make makes it: the manual by the binaries of this machine, then an archive
// and an SBOM for each target, then the checksums.
func (r *release) make(ctx context.Context) error {
	work, err := os.MkdirTemp("", "efs-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	manual := filepath.Join(work, "manual")
	if err := r.writeManual(ctx, work, manual); err != nil {
		return err
	}
	made := []string{}
	for _, t := range r.targets {
		names, err := r.target(ctx, work, manual, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		made = append(made, names...)
	}
	return r.checksums(made)
}

// writeManual has this machine's binaries write their pages and scripts.
func (r *release) writeManual(ctx context.Context, work, dir string) error {
	bin, err := r.build(ctx, work, target{runtime.GOOS, runtime.GOARCH}, r.commands)
	if err != nil {
		return err
	}
	for _, name := range r.commands {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), "__manual", dir)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // defaults that come from variables are nobody's
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// build builds commands for a target, once, and returns their directory. What
// the source tree's repository says is left out, so that a tarball of the
// sources makes the same binaries.
func (r *release) build(ctx context.Context, work string, t target, commands []string) (string, error) {
	dir := filepath.Join(work, t.os+"-"+t.arch)
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist): // all of them, for their manual
		return dir, nil
	case err != nil:
		return "", err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X github.com/efs-project/efs/internal/version.Version=" + r.version, "-o", dir + string(filepath.Separator)}
	for _, c := range commands {
		args = append(args, "./cmd/"+c)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOTOOLCHAIN=local", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return dir, nil
}

// target makes the archive of a target and its SBOM, and returns their names.
func (r *release) target(ctx context.Context, work, manual string, t target) ([]string, error) {
	bin, err := r.build(ctx, work, t, r.of(t))
	if err != nil {
		return nil, err
	}
	name := strings.Join([]string{"efs", r.version, t.os, t.arch}, "-")
	modules, err := modulesOf(bin)
	if err != nil {
		return nil, err
	}
	texts, err := notices(ctx, modules)
	if err != nil {
		return nil, err
	}
	bom, err := r.bom(name, t, bin, modules)
	if err != nil {
		return nil, err
	}
	files, err := r.contents(t, bin, manual)
	if err != nil {
		return nil, err
	}
	files = append(files, file{"sbom.cdx.json", bom, 0o644}, file{"LICENSES.txt", texts, 0o644})
	archive, pack := name+".tar.gz", tarGz
	if t.os == "windows" {
		archive, pack = name+".zip", zipped
	}
	b, err := pack(name, files, r.time)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.out, archive), b, 0o644); err != nil {
		return nil, err
	}
	fmt.Printf("%s  %d files, %.1f MiB\n", filepath.Join(r.out, archive), len(files), float64(len(b))/(1<<20))
	return []string{archive, name + ".cdx.json"}, os.WriteFile(filepath.Join(r.out, name+".cdx.json"), bom, 0o644)
}
