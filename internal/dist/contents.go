package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// file is one of an archive. Its mode does not come from the disk, where it
// depends on somebody's umask.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// contents are the files of a target's archive: the binaries, their manual, the
// second reader, what a server is run with, and the documents.
func (r *release) contents(t target, bin, manual string) ([]file, error) {
	var files []file
	trees := []struct {
		from, to string
		mode     fs.FileMode
		keep     func(name string) bool
	}{
		{bin, "bin", 0o755, nil},
		{filepath.Join(manual, "completions"), "share/completions", 0o644, r.forTarget(t)},
		{filepath.Join(manual, "man"), "share/man", 0o644, r.forTarget(t)},
		{"docs", "docs", 0o644, ending(".md", ".svg")},
		{"api", "api", 0o644, ending(".yaml")},
		{"contrib", "contrib", 0o755, ending(".py")},
		{"deploy", "deploy", 0o644, func(name string) bool { return t.os == "linux" && deployed(name) }},
	}
	for _, tree := range trees {
		err := filepath.WalkDir(tree.from, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(tree.from, p)
			if err != nil || tree.keep != nil && !tree.keep(filepath.ToSlash(rel)) {
				return err
			}
			b, err := os.ReadFile(p)
			files = append(files, file{path.Join(tree.to, filepath.ToSlash(rel)), b, tree.mode})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile("README.md")
	return append(files, file{"README.md", b, 0o644}), err
}

// ending keeps files by how their names end.
func ending(with ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(with, path.Ext(name)) }
}

// deployed keeps what belongs to deploy/ and nothing else that lies there: a
// server is tried out with its key beside compose.yaml.
func deployed(name string) bool {
	return path.Base(name) == "Dockerfile" ||
		ending(".dockerignore", ".json", ".service", ".sysusers", ".timer", ".tmpfiles", ".toml", ".yaml")(name)
}

// forTarget keeps of the manual what is of commands that the target gets.
func (r *release) forTarget(t target) func(string) bool {
	return func(name string) bool {
		base := strings.TrimPrefix(path.Base(name), "_")
		base = strings.TrimSuffix(base, path.Ext(base))
		owner := "" // of efs-server-config it is efs-server, not efs
		for _, c := range r.commands {
			if (base == c || strings.HasPrefix(base, c+"-")) && len(c) > len(owner) {
				owner = c
			}
		}
		return slices.Contains(r.of(t), owner)
	}
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) checksums(names []string) error {
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644)
}
