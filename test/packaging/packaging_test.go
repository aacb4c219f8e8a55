// Package packaging checks what goes beside the binaries: manual pages,
// completion scripts, units of systemd and what make install puts where.
package packaging

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

var commands = []string{"efs", "efs-bench", "efs-recover", "efs-server", "efsc", "efsctl"}

// manual has every command write its pages and scripts.
func manual(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range commands {
		cmd := exec.Command(kit.Bin(t, name), "__manual", dir)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	return dir
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Every page is set by groff without a warning, and mandoc has nothing against
// it but that it has no date.
func TestManualPagesAreSet(t *testing.T) {
	pages := files(t, filepath.Join(manual(t), "man"))
	for _, name := range commands {
		if !slices.ContainsFunc(pages, func(p string) bool { return strings.HasPrefix(filepath.Base(p), name+".") }) {
			t.Errorf("%s has no page", name)
		}
	}
	for _, page := range pages {
		out, err := exec.Command("groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
	out, _ := exec.Command("mandoc", append([]string{"-Tlint", "-Wwarning"}, pages...)...).CombinedOutput() // it fails where it warns
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

// A page says what --help does.
func TestAPageSaysWhatHelpSays(t *testing.T) {
	dir := manual(t)
	cmd := exec.Command("man", "-l", filepath.Join(dir, "man/man1/efs-cp.1"))
	cmd.Env = append(os.Environ(), "MANWIDTH=200", "LC_ALL=C.UTF-8", "MANPAGER=cat")
	page, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(kit.Bin(t, "efs"), "cp", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := func(s string) []string {
		s = strings.ReplaceAll(s, "…", "...") // not every terminal has it
		return strings.Fields(regexp.MustCompile(`.\x08|\x1b\[[0-9;]*m`).ReplaceAllString(s, ""))
	}
	inPage := words(string(page))
	for _, w := range words(string(help)) {
		if !slices.Contains(inPage, w) && !slices.Contains([]string{"Usage:", "Flags:", "Examples:", "Global"}, w) && !slices.Contains(inPage, w+",") {
			t.Errorf("the page lacks %q", w)
		}
	}
}

// The scripts are taken by the shells that are here, and complete.
func TestCompletionScripts(t *testing.T) {
	dir := manual(t)
	for shell, scripts := range map[string]string{"bash": "completions/bash", "zsh": "completions/zsh", "fish": "completions/fish"} {
		names := files(t, filepath.Join(dir, scripts))
		if len(names) != len(commands) {
			t.Errorf("%s has %d scripts, want %d", shell, len(names), len(commands))
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue // bash is everywhere where these tests run; the others are tried where they are
		}
		for _, name := range names {
			if out, err := exec.Command(shell, "-n", name).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
	// What the package bash-completion would give the script.
	const complete = `_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${words[cword]} prev=${words[cword-1]}; }
		source "$1" && COMP_WORDS=(efs-recover --from '') && COMP_CWORD=2 COMP_LINE='efs-recover --from ' COMP_POINT=19 COMP_TYPE=9 &&
		__start_efs-recover && printf '%s\n' "${COMPREPLY[@]}"`
	cmd := exec.Command("bash", "-c", complete, "bash", filepath.Join(dir, "completions/bash/efs-recover"))
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(kit.Bin(t, "efs-recover"))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "journal") {
		t.Errorf("efs-recover --from is completed to %q, %v", out, err)
	}
}

// systemd rates each unit's exposure from 0 to 10; below 5 it says OK.
func TestUnitsAreConfined(t *testing.T) {
	const ok = 2.5 // far below, so that a line that was lost shows
	score := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+) (OK|SAFE)`)
	units, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("%v, %v", units, err)
	}
	for _, unit := range units {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		found := score.FindStringSubmatch(string(out))
		if found == nil {
			t.Errorf("%s is exposed:\n%s", unit, out)
			continue
		}
		if v, err := strconv.ParseFloat(found[1], 64); err != nil || v > ok {
			t.Errorf("%s: exposure %s, want at most %v", unit, found[1], ok)
		}
	}
}

// make install puts everything where systems look, and systemd finds nothing
// wrong with the units and the files for its other tools there.
func TestInstall(t *testing.T) {
	dest, bin := t.TempDir(), t.TempDir()
	if err := os.Rename(manual(t), filepath.Join(bin, "share")); err != nil {
		t.Fatal(err)
	}
	for _, name := range commands {
		if err := os.Symlink(kit.Bin(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("../../scripts/install", commands...)
	cmd.Env = append(os.Environ(), "DESTDIR="+dest, "PREFIX=/opt/efs", "UNITS=/opt/efs/lib/systemd/system", "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"bin/efs-server", "bin/efs-recover", "share/man/man1/efs.1", "share/man/man8/efsctl-backup.8", "share/bash-completion/completions/efs",
		"share/zsh/site-functions/_efsc", "share/fish/vendor_completions.d/efsctl.fish", "lib/systemd/system/efs-server.service",
		"lib/systemd/system/efs-backup@.timer", "lib/systemd/system/efs-drill@.service", "lib/sysusers.d/efs.conf", "lib/tmpfiles.d/efs.conf"} {
		if info, err := os.Stat(filepath.Join(dest, "opt/efs", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	verify(t, filepath.Join(dest, "opt/efs/lib/systemd/system"), filepath.Join(dest, "opt/efs/bin"))
	lib := filepath.Join(dest, "opt/efs/lib")
	for _, check := range [][]string{
		{"systemd-sysusers", "--dry-run", filepath.Join(lib, "sysusers.d/efs.conf")},
		{"systemd-tmpfiles", "--cat-config", filepath.Join(lib, "tmpfiles.d/efs.conf")},
	} {
		if out, err := exec.Command(check[0], check[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", check, err, out)
		}
	}
}

// verify has systemd read the units, with the binaries where they were put.
func verify(t *testing.T, dir, bin string) {
	t.Helper()
	var units []string
	for _, name := range files(t, dir) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "/usr/bin/efs") {
			t.Errorf("%s names a place where nothing was installed", name)
		}
		text = []byte(strings.ReplaceAll(string(text), "/opt/efs/bin", bin))
		// An instance, and no manual of the system's: that is not where we are.
		text = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAll(text, nil)
		to := filepath.Join(t.TempDir(), strings.Replace(filepath.Base(name), "@.", "@user-data.", 1))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, to)
	}
	dirs := map[string]bool{}
	for _, u := range units {
		dirs[filepath.Dir(u)] = true
	}
	path := ""
	for d := range dirs {
		path += d + ":"
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
