package access

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// The exports, below a file system's system directory:
//
//	ca.crt                  the authority for client certificates
//	users/USER/user.toml    what is kept of a user
//	users/USER/pub.pgp      the user's public keys, as they were given
//	users/USER/tls.crt      the newest client certificate
//
// All access goes through os.Root: whoever can write the volume may have put
// symbolic links in the way.
const (
	caFile   = "ca.crt"
	usersDir = "users"
)

// maxExport bounds what is read of a file that ought to be an export.
const maxExport = 1 << 20

// ExportTo keeps the exports below systemDir up to date from now on. A failure
// to write them fails no change; it is logged.
func (d *Directory) ExportTo(systemDir string, logger *slog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exports, d.logger = systemDir, logger
}

// Export writes all exports below systemDir, which must exist. What else lies
// there stays.
func (d *Directory) Export(systemDir string) error {
	root, err := os.OpenRoot(systemDir)
	if err != nil {
		return fmt.Errorf("exporting users: %w", err)
	}
	defer root.Close()
	for name, content := range d.exportFiles() {
		if err := writeExport(root, name, content); err != nil {
			return fmt.Errorf("exporting %s: %w", name, err)
		}
	}
	return nil
}

// CheckExport compares the exports below systemDir with what is kept in the
// index, and says in words what does not fit: files missing or altered, users
// that do not exist. Nothing found there changes who may.
func (d *Directory) CheckExport(systemDir string) (problems []string) {
	root, err := os.OpenRoot(systemDir)
	if err != nil {
		return []string{fmt.Sprintf("%s cannot be read: %v", systemDir, err)}
	}
	defer root.Close()
	files := d.exportFiles()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := readExport(root, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, name+" is missing")
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s cannot be read: %v", name, err))
		case !bytes.Equal(got, files[name]):
			problems = append(problems, name+" is not what the index holds: it was altered or replaced, and is not used")
		}
	}
	users, err := fs.ReadDir(root.FS(), usersDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, fmt.Sprintf("%s cannot be read: %v", usersDir, err))
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range users {
		if d.users[e.Name()] == nil {
			problems = append(problems, fmt.Sprintf("%s/%q: no such user in the index; it lets nobody in", usersDir, e.Name()))
		}
	}
	return problems
}

func (d *Directory) exportFiles() map[string][]byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	files := map[string][]byte{caFile: d.caPEM()}
	for name, m := range d.users {
		maps.Copy(files, userFiles(name, m.user))
	}
	return files
}

func userFiles(name string, u *User) map[string][]byte {
	var keys []byte
	for _, k := range u.Keys {
		keys = append(keys, k.Text...)
	}
	dir := path.Join(usersDir, name)
	return map[string][]byte{
		path.Join(dir, "user.toml"): userTOML(u),
		path.Join(dir, "pub.pgp"):   keys,
		path.Join(dir, "tls.crt"):   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.TLS}),
	}
}

// userTOML describes a user. Every value is of a form that needs no escaping.
func userTOML(u *User) []byte {
	var b strings.Builder
	stamp := func(key string, t time.Time) { fmt.Fprintf(&b, "%s = %s\n", key, t.UTC().Format(time.RFC3339)) }
	b.WriteString("# Written by EFS for people to read. Changing this file changes nothing.\n")
	fmt.Fprintf(&b, "name = %q\n", u.Name)
	stamp("created", u.Created)
	if u.Revoked != nil {
		stamp("revoked", *u.Revoked)
	}
	if u.Explicit { // of what: paths, which are not to be read on a volume
		b.WriteString("rights = \"as granted\"\n")
	}
	for _, k := range u.Keys {
		fmt.Fprintf(&b, "\n[[key]]\nkind = %q\nfingerprint = %q\n", k.Kind, k.Fingerprint)
		stamp("added", k.Added)
	}
	for _, c := range u.Certificates {
		fmt.Fprintf(&b, "\n[[certificate]]\nserial = %q\nsha256 = %q\n", c.Serial, c.SHA256)
		stamp("issued", c.Issued)
		stamp("not_after", c.NotAfter)
		if c.Revoked != nil {
			stamp("revoked", *c.Revoked)
		}
	}
	return []byte(b.String())
}

// exportOne renews the files of one user, or removes them (m == nil).
func exportOne(systemDir, name string, m *member) error {
	root, err := os.OpenRoot(systemDir)
	if err != nil {
		return err
	}
	defer root.Close()
	if m == nil {
		if err := root.RemoveAll(path.Join(usersDir, name)); err != nil {
			return err
		}
		return syncDir(root, usersDir)
	}
	for file, content := range userFiles(name, m.user) {
		if err := writeExport(root, file, content); err != nil {
			return err
		}
	}
	return nil
}

// writeExport replaces a file as a whole, durably.
func writeExport(root *os.Root, name string, content []byte) error {
	dir := path.Dir(name)
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp := path.Join(dir, ".new-"+efs.NewID().String())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	for d := dir; ; d = path.Dir(d) {
		if err := syncDir(root, d); err != nil {
			return err
		}
		if d == "." {
			return nil
		}
	}
}

func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func readExport(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxExport))
}
