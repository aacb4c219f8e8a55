// Package images checks what containers of EFS are built and run from: the
// Dockerfile by BuildKit's own parser and linter, compose.yaml by the Compose
// project's own loader, with its schema.
package images

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const docker = "../../deploy/docker"

// stages parses the Dockerfile; whatever its parser or linter finds odd fails.
func stages(t *testing.T) map[string]instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docker, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("%s: %v", w.Short, w.Location)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("%s: %s %v", rule, message, at)
	}})
	list, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]instructions.Stage{}
	for _, s := range list {
		byName[s.Name] = s
	}
	return byName
}

// commands are those of a stage of one kind.
func commands[C any](s instructions.Stage) (found []C) {
	for _, c := range s.Commands {
		if c, ok := c.(C); ok {
			found = append(found, c)
		}
	}
	return found
}

// Images hold our binaries and run as nobody in particular; the build fetches
// nothing but what go.mod names.
func TestImages(t *testing.T) {
	all := stages(t)
	for name, want := range map[string]struct {
		entry string
		holds []string
	}{
		"server": {"/usr/bin/efs-server", []string{"efs-server", "efsctl", "efs-recover"}},
		"client": {"/usr/bin/efsc", []string{"efs", "efsc", "efs-bench", "efs-recover"}},
	} {
		s, ok := all[name]
		if !ok {
			t.Fatalf("there is no stage %s", name)
		}
		if s.BaseName != "scratch" {
			t.Errorf("%s is based on %s", name, s.BaseName)
		}
		if u := commands[*instructions.UserCommand](s); len(u) != 1 || u[0].User != "65532:65532" {
			t.Errorf("%s runs as %v", name, u)
		}
		if e := commands[*instructions.EntrypointCommand](s); len(e) != 1 || e[0].PrependShell || !slices.Equal(e[0].CmdLine, []string{want.entry}) {
			t.Errorf("%s begins with %v", name, e)
		}
		var copied []string
		for _, c := range commands[*instructions.CopyCommand](s) {
			if c.From != "build" {
				t.Errorf("%s: %s does not come from the build", name, c)
			}
			for _, path := range c.SourcePaths {
				if strings.HasPrefix(path, "/out/") {
					copied = append(copied, filepath.Base(path))
				}
			}
		}
		if !slices.Equal(copied, want.holds) {
			t.Errorf("%s holds %v, want %v", name, copied, want.holds)
		}
		if len(commands[*instructions.RunCommand](s)) > 0 {
			t.Errorf("%s runs something while it is built: there is nothing to run in it", name)
		}
	}
	if h := commands[*instructions.HealthCheckCommand](all["server"]); len(h) != 1 || h[0].Health.Test[0] != "CMD" {
		t.Errorf("health of the server: %v", h)
	}
	if got := commands[*instructions.RunCommand](all["build"]); len(got) == 0 || !strings.Contains(got[0].String(), "go mod download") {
		t.Errorf("what the build fetches: %v", got)
	}
}

// What the images copy is there, and what is built is of this repository.
func TestBinariesAreBuilt(t *testing.T) {
	for _, s := range stages(t) {
		for _, c := range commands[*instructions.CopyCommand](s) {
			for _, path := range c.SourcePaths {
				if name, ok := strings.CutPrefix(path, "/out/"); ok {
					if _, err := os.Stat(filepath.Join("../../cmd", name)); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
}

func project(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(docker, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}}, Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("efs", true); o.Profiles = []string{"*"} })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The file is valid by Compose's schema, and every container is as confined as
// it says: no root, no capability, nothing that it could write but its volumes.
func TestCompose(t *testing.T) {
	p := project(t)
	if len(p.Services) < 2 {
		t.Fatalf("services: %v", p.ServiceNames())
	}
	all := stages(t)
	for name, s := range p.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged || s.User == "root" ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not confined", name)
		}
		if core := s.Ulimits["core"]; core == nil || core.Single != 0 || core.Soft != 0 {
			t.Errorf("%s may leave core dumps", name)
		}
		if s.Build == nil {
			t.Errorf("%s is not built", name)
			continue
		}
		if _, ok := all[s.Build.Target]; !ok {
			t.Errorf("%s is built from stage %s, which the Dockerfile does not have", name, s.Build.Target)
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
	}
	for name, c := range p.Configs {
		if _, err := os.Stat(c.File); err != nil {
			t.Errorf("config %s: %v", name, err)
		}
	}
	for _, m := range p.Services["efs-client"].Tmpfs {
		if strings.HasPrefix(m, "/uefs:") && strings.Contains(m, "uid=65532") && strings.Contains(m, "mode=0700") {
			return
		}
	}
	t.Error("decrypted copies of the client lie in no tmpfs of its own")
}
