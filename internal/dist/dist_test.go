package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the test builds: the two that build fastest.
const (
	tested = "efs-recover,efs-bench"
	at     = 1_795_190_400
)

// copySources copies what a release is made from to dir.
func copySources(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, top := range []string{"go.mod", "go.sum", "efs.go", "README.md", "api", "client", "cmd", "contrib", "deploy", "docs", "internal", "seal"} {
		from := filepath.Join("..", "..", top)
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel("../..", path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, rel)
			if d.IsDir() {
				return os.MkdirAll(to, 0o700)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// releaseIn makes a release from the sources in dir, with another umask and
// other variables than the tests have, and returns its files.
func releaseIn(t *testing.T, dir, umask string, env ...string) map[string][]byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$0" && exec go run ./internal/dist "$@"`, umask,
		"-out", "dist", "-version", "v1.2.3", "-time", fmt.Sprint(at), "-targets", "linux/amd64", "-commands", tested)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(dir, "dist"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, "dist", e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestTwoBuildsAreTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("builds binaries")
	}
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "in another", "place")
	copySources(t, one)
	copySources(t, two)
	if err := os.WriteFile(filepath.Join(one, "deploy/docker/starter.key"), []byte("EFS-STARTER-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := releaseIn(t, one, "022")
	b := releaseIn(t, two, "077", "TZ=Asia/Tokyo", "EFS_ROOT=/elsewhere", "GOFLAGS=-buildvcs=false", "GOAMD64=v3")
	const name = "efs-v1.2.3-linux-amd64"
	want := []string{"SHA256SUMS", name + ".cdx.json", name + ".tar.gz"}
	if got := keys(a); !slices.Equal(got, want) {
		t.Fatalf("a release of %v, want %v", got, want)
	}
	for _, name := range want {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s differs between two builds:\n%s", name, difference(t, a[name], b[name]))
		}
	}
	checkSums(t, a)
	files := unpack(t, a[name+".tar.gz"], name)
	checkArchive(t, files)
	checkBOM(t, a[name+".cdx.json"], files)
	checkVersion(t, files["bin/efs-bench"])
}

func keys[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// difference says which members of two archives differ.
func difference(t *testing.T, a, b []byte) string {
	if _, err := gzip.NewReader(bytes.NewReader(a)); err != nil {
		return fmt.Sprintf("%.2000s\n%.2000s", a, b)
	}
	var out strings.Builder
	was, is := unpack(t, a, ""), unpack(t, b, "")
	for name := range was {
		if !bytes.Equal(was[name], is[name]) {
			fmt.Fprintln(&out, name)
		}
	}
	return out.String()
}

// unpack returns the files of an archive, without the directory that all are
// in. None of them has an owner or a time of its own.
func unpack(t *testing.T, archive []byte, top string) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	var last string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(at, 0)) || h.Name <= last {
			t.Errorf("%s is of %d:%d at %s, after %s", h.Name, h.Uid, h.Gid, h.ModTime, last)
		}
		last = h.Name
		mode := int64(0o644)
		if strings.Contains(h.Name, "/bin/") || strings.Contains(h.Name, "/contrib/") {
			mode = 0o755
		}
		if h.Mode != mode {
			t.Errorf("%s has mode %o, want %o", h.Name, h.Mode, mode)
		}
		if files[strings.TrimPrefix(h.Name, top+"/")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func checkSums(t *testing.T, files map[string][]byte) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(files["SHA256SUMS"])), "\n")
	if len(lines) != len(files)-1 {
		t.Errorf("%d checksums of %d files", len(lines), len(files)-1)
	}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256(files[name])); got != sum {
			t.Errorf("%s has SHA-256 %s, listed is %s", name, got, sum)
		}
	}
}

func checkArchive(t *testing.T, files map[string][]byte) {
	t.Helper()
	for _, name := range []string{"bin/efs-recover", "bin/efs-bench", "contrib/recover.py", "share/man/man1/efs-recover.1", "share/completions/bash/efs-recover",
		"share/completions/zsh/_efs-bench", "share/completions/fish/efs-bench.fish", "deploy/systemd/efs-server.service", "docs/sealed-file.md", "api/openapi.yaml", "sbom.cdx.json"} {
		if len(files[name]) == 0 {
			t.Errorf("the archive has no %s", name)
		}
	}
	if _, ok := files["bin/efs-server"]; ok {
		t.Error("the archive has what was not asked for")
	}
	if _, ok := files["deploy/docker/starter.key"]; ok {
		t.Error("the archive has the key of whoever made it")
	}
	for _, want := range []string{"github.com/spf13/cobra", "Apache License", "The Go Authors"} {
		if !bytes.Contains(files["LICENSES.txt"], []byte(want)) {
			t.Errorf("LICENSES.txt does not tell of %s", want)
		}
	}
}

// checkBOM compares an SBOM with the binaries that it is of.
func checkBOM(t *testing.T, text []byte, files map[string][]byte) {
	t.Helper()
	var b bom
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "efs-recover"), files["bin/efs-recover"], 0o600); err != nil {
		t.Fatal(err)
	}
	modules, err := modulesOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	byRef := map[string]component{}
	for _, c := range b.Components {
		byRef[c.Ref] = c
	}
	for _, m := range modules {
		if c := byRef[m.purl()]; c.Version != m.Version || len(c.Licences) == 0 {
			t.Errorf("efs-recover has %s %s, the SBOM %+v", m.Path, m.Version, c)
		}
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(files["bin/efs-recover"]))
	if c := byRef["bin/efs-recover"]; len(c.Hashes) != 1 || c.Hashes[0].Content != sum {
		t.Errorf("efs-recover has SHA-256 %s, the SBOM %+v", sum, c)
	}
	if b.Format != "CycloneDX" || !strings.HasPrefix(b.Serial, "urn:uuid:") || b.Metadata.Component.Version != "v1.2.3" || len(modules) < 5 {
		t.Errorf("%s %s of %+v, %d modules", b.Format, b.Serial, b.Metadata.Component, len(modules))
	}
	for _, d := range b.Dependencies {
		for _, ref := range d.On {
			if byRef[ref].Name == "" {
				t.Errorf("%s depends on %s, which is no component", d.Ref, ref)
			}
		}
	}
}

func checkVersion(t *testing.T, binary []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "efs-bench")
	if err := os.WriteFile(name, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(name, "--version").Output()
	if err != nil || !strings.Contains(string(out), " v1.2.3 go") {
		t.Errorf("it says %q, %v", out, err)
	}
}

// What is made for other systems than Linux is built without what runs on Linux
// alone; make dist-check builds it.
func TestClientsHaveNoServerCode(t *testing.T) {
	args := []string{"list", "-deps"}
	for _, c := range clients {
		args = append(args, "github.com/efs-project/efs/cmd/"+c)
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, no := range []string{"access", "admin", "audit", "config", "fsys", "node", "server", "session"} {
		if slices.Contains(deps, self+"/internal/"+no) {
			t.Errorf("one of %v is built with internal/%s", clients, no)
		}
	}
}

// What other systems get is what runs there, with the manual of that alone.
func TestTargetsGetTheirCommands(t *testing.T) {
	r := release{commands: all}
	mac := r.forTarget(target{"darwin", "arm64"})
	for name, want := range map[string]bool{"man1/efs-cp.1": true, "man1/efsc.1": true, "zsh/_efs-recover": true, "fish/efs.fish": true,
		"man8/efs-server-config.8": false, "bash/efsctl": false, "man8/efsctl-kms-rotate.8": false} {
		if mac(name) != want {
			t.Errorf("%s for macOS: %v", name, !want)
		}
		if !r.forTarget(target{"linux", "arm64"})(name) {
			t.Errorf("Linux does not get %s", name)
		}
	}
}

func TestAModuleWithoutALicenceIsNotHandedOn(t *testing.T) {
	if texts, err := licenceTexts(t.TempDir()); err != nil || len(texts) != 0 {
		t.Errorf("%d texts, %v", len(texts), err)
	}
	for id, text := range map[string]string{
		"MIT":          "Permission is hereby granted, free of\ncharge, to any person obtaining a copy",
		"BSD-2-Clause": "Redistribution and use in source and binary forms, with or without",
		"BSD-3-Clause": "Redistribution and use in source and binary forms … Neither the name of",
		"Apache-2.0":   "                 Apache License\n           Version 2.0, January 2004",
		"MPL-2.0":      "Mozilla Public License, version 2.0",
	} {
		if got := identify([]byte(text)); !slices.Equal(got, []string{id}) {
			t.Errorf("%s is taken for %v", id, got)
		}
	}
}
