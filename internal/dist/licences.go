package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// notices returns the texts of the licences of modules, which go with their
// binaries, and notes on each module which they are.
func notices(ctx context.Context, modules map[string]*module) ([]byte, error) {
	dirs, err := sources(ctx, modules)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("What these binaries are made of besides EFS, and under which terms.\n")
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		m := modules[path]
		texts, err := licenceTexts(dirs[path])
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", path, err)
		}
		if len(texts) == 0 {
			return nil, fmt.Errorf("%s %s comes without a licence: nobody may hand it on", path, m.Version)
		}
		fmt.Fprintf(&b, "\n%s\n%s %s\n", strings.Repeat("=", 78), path, m.Version)
		for _, text := range texts {
			m.licences = append(m.licences, identify(text)...)
			fmt.Fprintf(&b, "\n%s\n", bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))))
		}
		slices.Sort(m.licences)
		m.licences = slices.Compact(m.licences)
	}
	return b.Bytes(), nil
}

// sources are the directories that modules were built from.
func sources(ctx context.Context, modules map[string]*module) (map[string]string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	dirs := map[string]string{"std": strings.TrimSpace(string(root))}
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Dir}}"}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		if path != "std" {
			args = append(args, path)
		}
	}
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		dirs[path] = dir
	}
	return dirs, nil
}

// licenceTexts are the files at the top of a module that say what it may be
// used for. Those of modules below a repository's top are copied there by the
// go command.
func licenceTexts(dir string) (texts [][]byte, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, b)
	}
	return texts, nil
}

// A sentence that each licence has and no other.
var sentences = []struct{ id, text string }{
	{"Apache-2.0", "apache license version 2.0, january 2004"},
	{"MPL-2.0", "mozilla public license, version 2.0"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
	{"CC0-1.0", "cc0 1.0 universal"},
}

// identify returns the SPDX ids of the licences that a text has. A text that
// is of none of the known ones gets none: it is in LICENSES.txt in full.
func identify(text []byte) (ids []string) {
	t := strings.Join(strings.Fields(strings.ToLower(string(text))), " ")
	for _, s := range sentences {
		if strings.Contains(t, s.text) {
			ids = append(ids, s.id)
		}
	}
	if strings.Contains(t, "redistribution and use in source and binary forms") {
		if strings.Contains(t, "neither the name") {
			return append(ids, "BSD-3-Clause")
		}
		return append(ids, "BSD-2-Clause")
	}
	return ids
}
