// Package unarchive puts the members of an archive into a directory of this
// machine, and never outside it.
package unarchive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/stage"
)

// ErrKept is the error of a member that was left out because something was
// there.
var ErrKept = errors.New("kept")

// Dir receives members below a directory, in the order of an archive. It is used
// by one goroutine. Whatever the names say and whatever lies there, nothing is
// written outside the directory: it is opened once, and all names are looked
// up below it without following links out of it.
//
// Each file appears whole or not at all. All is durable when Close has
// returned nil.
type Dir struct {
	root      *os.Root
	noClobber bool
	open      []entered // the directories above the last member
	plain     int       // members whose metadata could not be kept
}

// entered is a directory that still receives members; its times and mode are
// set when it has all of them.
type entered struct {
	name   string
	member archive.Member
	fresh  bool // it was not there before
}

// New receives members below dir, which is there. With noClobber what is there
// stays; otherwise files and links are replaced.
func New(dir string, noClobber bool) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root, noClobber: noClobber}, nil
}

// WithoutMetadata tells of how many members content type and metadata were not
// kept, because the file system takes no extended attributes.
func (d *Dir) WithoutMetadata() int { return d.plain }

// Put receives a member; of a file, r delivers the contents. Errors are those of
// this member; the next ones can be received. ErrKept: with noClobber
// something was there. archive.ErrDamaged: the contents have another digest.
func (d *Dir) Put(m *archive.Member, r io.Reader) error {
	name, err := filepath.Localize(m.OutName())
	if err != nil {
		return fmt.Errorf("%q cannot be a name on this machine", m.Name)
	}
	if err := d.leave(m.Name); err != nil {
		return err
	}
	switch m.Kind {
	case efs.KindDir:
		return d.enter(name, m)
	case efs.KindSymlink:
		return d.link(name, m)
	}
	return d.file(name, m, r)
}

// Remove removes a path with all below it; "." everything. Removing what is not
// there is no error, nor is what lies behind a link: that is something else.
func (d *Dir) Remove(p string) error {
	if p != "." {
		name, err := filepath.Localize(p)
		if err != nil {
			return nil // it cannot be there
		}
		for up := filepath.Dir(name); up != "."; up = filepath.Dir(up) {
			if fi, err := d.root.Lstat(up); err != nil || !fi.IsDir() {
				return nil
			}
		}
		return d.root.RemoveAll(name)
	}
	all, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := d.root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Close finishes the directories and makes everything durable.
func (d *Dir) Close() error {
	err := d.leave("")
	return errors.Join(err, syncAll(d.root), d.root.Close())
}

// leave finishes the directories that the next member is not in.
func (d *Dir) leave(next string) error {
	var failed error
	for n := len(d.open) - 1; n >= 0 && !strings.HasPrefix(next, d.open[n].member.Name+"/"); n-- {
		e := d.open[n]
		d.open = d.open[:n]
		if err := d.finish(e.name, &e.member, e.fresh); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// finish gives a directory its mode and times.
func (d *Dir) finish(name string, m *archive.Member, fresh bool) error {
	switch {
	case !fresh && d.noClobber:
		return nil
	case m.Mode != 0:
		if err := d.root.Chmod(name, fileMode(m.Mode, 0o7777)); err != nil {
			return err
		}
	case fresh: // it was closed to others while it was filled
		if err := d.root.Chmod(name, 0o777&^stage.Umask()); err != nil {
			return err
		}
	}
	return d.root.Chtimes(name, m.Modified, m.Modified)
}

// enter makes a directory, or goes into one that is there. A link in its place
// is not followed.
func (d *Dir) enter(name string, m *archive.Member) error {
	fi, err := d.root.Lstat(name)
	switch {
	case err == nil && fi.IsDir():
	case err == nil && d.noClobber:
		return ErrKept
	case err == nil:
		if err := d.root.Remove(name); err != nil {
			return err
		}
		fallthrough
	default:
		if err := d.root.Mkdir(name, 0o700); err != nil {
			return err
		}
		fi = nil
	}
	d.open = append(d.open, entered{name, *m, fi == nil})
	if fi == nil || !d.noClobber {
		return d.describe(name, m)
	}
	return nil
}

// describe keeps a directory's metadata.
func (d *Dir) describe(name string, m *archive.Member) error {
	if len(m.Meta) == 0 && m.Type == "" {
		return nil
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.attributes(f, m)
}

// attributes keeps content type and metadata as extended attributes where that
// can be done.
func (d *Dir) attributes(f *os.File, m *archive.Member) error {
	if len(m.Meta) == 0 && m.Type == "" {
		return nil
	}
	kept, err := setAttributes(f, m)
	if !kept && err == nil {
		d.plain++
	}
	return err
}

// place makes sure that something may come to be at name. Nothing is written
// below what is no directory of the archive's.
func (d *Dir) place(name string, m *archive.Member) error {
	if dir := path.Dir(m.Name); dir != "." && (len(d.open) == 0 || d.open[len(d.open)-1].member.Name != dir) {
		if err := d.way(dir); err != nil {
			return err
		}
	}
	fi, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case d.noClobber:
		return ErrKept
	case fi.IsDir():
		return fmt.Errorf("a directory is in the way of %q: remove it first", m.Name)
	}
	return nil
}

// way makes the directories above a member whose own members were lost or
// failed; none of them may be a link.
func (d *Dir) way(dir string) error {
	name := ""
	for part := range strings.SplitSeq(dir, "/") {
		name = path.Join(name, part)
		local, err := filepath.Localize(name)
		if err != nil {
			return err
		}
		if err := d.root.Mkdir(local, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if fi, err := d.root.Lstat(local); err != nil || !fi.IsDir() {
			return fmt.Errorf("%q is no directory", name)
		}
	}
	return nil
}

// link makes a symbolic link, in place of a file or link that was there.
func (d *Dir) link(name string, m *archive.Member) error {
	if err := d.place(name, m); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(name), stage.TemporaryName())
	if err := d.root.Symlink(m.Target, temp); err != nil {
		return err
	}
	err := linkTime(d.root, temp, m.Modified)
	if err == nil {
		err = d.root.Rename(temp, name)
	}
	if err != nil {
		_ = d.root.Remove(temp) // its name tells what it is
	}
	return err
}

// file receives a file under a temporary name, and gives it its own when it is
// whole.
func (d *Dir) file(name string, m *archive.Member, r io.Reader) error {
	if err := d.place(name, m); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(name), stage.TemporaryName())
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = d.fill(f, m, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.root.Chtimes(temp, m.Modified, m.Modified)
	}
	if err == nil {
		err = d.root.Rename(temp, name)
	}
	if err != nil {
		_ = d.root.Remove(temp) // its name tells what it is
	}
	return err
}

func (d *Dir) fill(f *os.File, m *archive.Member, r io.Reader) error {
	var sum hash.Hash
	out := io.Writer(f)
	if m.SHA256 != "" && len(m.Lost) == 0 {
		sum = sha256.New()
		out = io.MultiWriter(f, sum)
	}
	n, err := io.Copy(out, r)
	switch {
	case err != nil:
		return err
	case n != m.Size:
		return fmt.Errorf("%w: %q has %d bytes of %d", archive.ErrDamaged, m.Name, n, m.Size)
	case sum != nil && hex.EncodeToString(sum.Sum(nil)) != m.SHA256:
		return fmt.Errorf("%w: the contents of %q do not have the digest that it tells", archive.ErrDamaged, m.Name)
	}
	mode := 0o666 &^ stage.Umask()
	if m.Mode != 0 {
		mode = fileMode(m.Mode, 0o777) // a file gives nobody another's rights
	}
	if err := d.attributes(f, m); err != nil { // while the file may be written
		return err
	}
	return f.Chmod(mode)
}

// fileMode converts permission bits.
func fileMode(mode, mask uint32) fs.FileMode {
	m := fs.FileMode(mode & mask & 0o777)
	for bit, set := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&mask&bit != 0 {
			m |= set
		}
	}
	return m
}
