package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const self = "github.com/efs-project/efs"

// modulesOf returns the modules that the linker put into the binaries in bin,
// by path, with the binaries that they are in.
func modulesOf(bin string) (map[string]*module, error) {
	entries, err := os.ReadDir(bin)
	if err != nil {
		return nil, err
	}
	modules := map[string]*module{}
	for _, e := range entries {
		info, err := buildinfo.ReadFile(filepath.Join(bin, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("what %s is built from: %w", e.Name(), err)
		}
		std := &debug.Module{Path: "std", Version: info.GoVersion}
		for _, m := range append([]*debug.Module{std}, info.Deps...) {
			if m.Replace != nil {
				m = m.Replace
			}
			if modules[m.Path] == nil {
				modules[m.Path] = &module{Path: m.Path, Version: m.Version, Sum: m.Sum}
			}
			modules[m.Path].in = append(modules[m.Path].in, e.Name())
		}
	}
	return modules, nil
}

// module is one of a release.
type module struct {
	Path, Version string
	Sum           string // as in go.sum: h1:…
	in            []string
	licences      []string // SPDX ids, as far as its texts are known ones
}

func (m *module) purl() string {
	if m.Path == "std" {
		return "pkg:golang/std@" + strings.TrimPrefix(m.Version, "go")
	}
	return "pkg:golang/" + m.Path + "@" + url.PathEscape(m.Version)
}

// What follows is CycloneDX 1.6 (ECMA-424), as much of it as is used.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Time      string    `json:"timestamp"`
		Component component `json:"component"`
	}
	component struct {
		Ref        string          `json:"bom-ref"`
		Type       string          `json:"type"`
		Name       string          `json:"name"`
		Version    string          `json:"version"`
		PURL       string          `json:"purl,omitempty"`
		Hashes     []hash          `json:"hashes,omitempty"`
		Licences   []licenceChoice `json:"licenses,omitempty"`
		Properties []property      `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licenceChoice struct {
		Licence struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn"`
	}
)

// bom returns the bill of materials of a target's binaries, read from the
// binaries themselves. Its serial number is a name-based UUID of all else in it
// (RFC 9562, version 5), so that the same release has the same.
func (r *release) bom(name string, t target, bin string, modules map[string]*module) ([]byte, error) {
	b := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{
		Time:      r.time.Format("2006-01-02T15:04:05Z"),
		Component: component{Ref: name, Type: "application", Name: "efs", Version: r.version, PURL: "pkg:golang/" + self + "@" + url.PathEscape(r.version)},
	}}
	b.Metadata.Component.Properties = []property{{"efs:platform", t.String()}}
	entries, err := os.ReadDir(bin)
	if err != nil {
		return nil, err
	}
	top := dependency{Ref: name, On: []string{}}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(bin, e.Name()))
		if err != nil {
			return nil, err
		}
		ref := "bin/" + e.Name()
		top.On = append(top.On, ref)
		b.Components = append(b.Components, component{Ref: ref, Type: "application", Name: e.Name(), Version: r.version,
			Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(data))}}})
		b.Dependencies = append(b.Dependencies, dependency{Ref: ref, On: linked(modules, e.Name())})
	}
	b.Dependencies = append(b.Dependencies, top)
	for _, m := range slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.Path, b.Path) }) {
		b.Components = append(b.Components, m.component())
	}
	plain, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	b.Serial = uuid.NewSHA1(uuid.NameSpaceURL, plain).URN()
	out, err := json.MarshalIndent(b, "", "  ")
	return append(out, '\n'), err
}

// linked are the references of the modules that are in a binary.
func linked(modules map[string]*module, binary string) []string {
	on := []string{}
	for _, m := range modules {
		if slices.Contains(m.in, binary) {
			on = append(on, m.purl())
		}
	}
	slices.Sort(on)
	return on
}

func (m *module) component() component {
	c := component{Ref: m.purl(), Type: "library", Name: m.Path, Version: m.Version, PURL: m.purl()}
	if m.Sum != "" {
		c.Properties = []property{{"go:sum", m.Sum}}
	}
	for _, id := range m.licences {
		var l licenceChoice
		l.Licence.ID = id
		c.Licences = append(c.Licences, l)
	}
	return c
}
