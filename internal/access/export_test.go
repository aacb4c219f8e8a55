package access

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/pki"
)

func TestExport(t *testing.T) {
	d, _ := newDirectory(t)
	dir := t.TempDir()
	d.ExportTo(dir, d.logger)
	key := newPublic(t)
	issued, err := d.CreateUser(ctx, "app1", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Export(dir); err != nil {
		t.Fatal(err)
	}
	if p := d.CheckExport(dir); len(p) > 0 {
		t.Fatalf("problems right after exporting: %v", p)
	}
	for file, want := range map[string]string{
		"users/app1/pub.pgp":   string(key.Marshal()),
		"users/app1/tls.crt":   string(pki.EncodeCertificate(issued.Certificate)),
		"users/app1/user.toml": "fingerprint = \"" + key.Fingerprint(),
		"ca.crt":               string(d.CA()),
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(got), want) || strings.Contains(string(got), "PRIVATE KEY") {
			t.Errorf("%s: %v, %q", file, err, got)
		}
	}

	// Every change keeps the exports in step.
	if _, err := d.Renew(ctx, "app1", newCSR(t)); err != nil {
		t.Fatal(err)
	}
	if err := d.AddKey(ctx, "app1", newPublic(t)); err != nil {
		t.Fatal(err)
	}
	if err := d.Revoke(ctx, "app1"); err != nil {
		t.Fatal(err)
	}
	create(t, d, "app2")
	if err := d.DeleteUser(ctx, "app2"); err != nil {
		t.Fatal(err)
	}
	if p := d.CheckExport(dir); len(p) > 0 {
		t.Errorf("problems after changes: %v", p)
	}
	left, err := filepath.Glob(filepath.Join(dir, "users", "*", ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporaries left: %v %v", left, err)
	}
}

// Whoever can write the volume changes nothing but these files, and is told of.
func TestAlteredExportsAreReportedAndIgnored(t *testing.T) {
	d, store := newDirectory(t)
	dir := t.TempDir()
	issued := create(t, d, "app1")
	if err := d.Export(dir); err != nil {
		t.Fatal(err)
	}
	mallory := newPublic(t)
	foreign, _ := newDirectory(t)
	write := func(name string, content []byte) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("users/app1/pub.pgp", mallory.Marshal())
	write("ca.crt", foreign.CA())
	write("users/mallory/pub.pgp", mallory.Marshal())
	if err := os.Remove(filepath.Join(dir, "users/app1/tls.crt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "users/app1/user.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "users/app1/user.toml")); err != nil {
		t.Fatal(err)
	}

	again, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	problems := again.CheckExport(dir)
	for _, want := range []string{"ca.crt is not what", "pub.pgp is not what", "tls.crt is missing", "user.toml cannot be read", `"mallory": no such user`} {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("nothing says %q: %v", want, problems)
		}
	}
	if len(problems) != 5 {
		t.Errorf("%d problems, want 5: %v", len(problems), problems)
	}
	if again.SigningKeys("mallory") != nil || again.SigningKeys("app1")[0].Fingerprint() == mallory.Fingerprint() {
		t.Error("the volume decided who may")
	}
	if user, err := again.Judge(ctx, issued.Certificate); err != nil || user != "app1" {
		t.Errorf("Judge: %q, %v", user, err)
	}

	if err := again.Export(dir); err != nil {
		t.Fatal(err)
	}
	if p := again.CheckExport(dir); len(p) != 1 {
		t.Errorf("after exporting again: %v, want only the user who does not exist", p)
	}
}

// A symbolic link in the way does not lead the server out of its directory.
func TestExportStaysInside(t *testing.T) {
	d, _ := newDirectory(t)
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "users")); err != nil {
		t.Fatal(err)
	}
	create(t, d, "app1")
	if err := d.Export(dir); err == nil {
		t.Error("exporting through a link to elsewhere succeeded")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
}
