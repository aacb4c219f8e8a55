// Package unarchive puts the members of an archive into a directory of this
// machine, and never outside it.
package unarchive

import (
	"errors"
	"fmt"
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
	folded    *folded
	open      []entered // the directories above the last member
	plain     int       // members whose metadata could not be kept
	unset     int       // members whose permissions or times could not be set
	why       error     // of the first of them
}

// entered is a directory that still receives members; its times and mode are
// set when it has all of them.
type entered struct {
	name   string
	member archive.Member
	fresh  bool        // it was not there before
	was    fs.FileMode // what it had otherwise
}

// New receives members below dir, which is there. With noClobber what is there
// stays; otherwise files and links are replaced.
func New(dir string, noClobber bool) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root, noClobber: noClobber, folded: foldedIn(root)}, nil
}

// WithoutMetadata tells of how many members content type and metadata were not
// kept, because the file system takes no extended attributes.
func (d *Dir) WithoutMetadata() int { return d.plain }

// Unset tells of how many members permissions or times were not set, because
// the system did not allow it, and why not of the first. They are there all the
// same.
func (d *Dir) Unset() (n int, why error) { return d.unset, d.why }

// Put receives a member; of a file, r delivers the contents. Errors are those of
// this member; the next ones can be received. ErrKept: with noClobber
// something was there. archive.ErrDamaged: the contents have another digest.
func (d *Dir) Put(m *archive.Member, r io.Reader) error {
	return d.Write(m, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Write is Put; of a file, write writes the contents (nil: it is empty).
func (d *Dir) Write(m *archive.Member, write func(io.Writer) error) error {
	name, err := filepath.Localize(m.OutName())
	if err != nil {
		return fmt.Errorf("%q cannot be a name on this machine", m.Name)
	}
	d.leave(m.Name)
	if err := d.above(m); err != nil {
		return err
	}
	if err := d.folded.take(m.OutName()); err != nil {
		return err
	}
	switch m.Kind {
	case efs.KindDir:
		return d.enter(name, m)
	case efs.KindSymlink:
		return d.link(name, m)
	}
	return d.file(name, m, write)
}

// Close finishes the directories and makes everything durable.
func (d *Dir) Close() error {
	d.leave("")
	return errors.Join(syncAll(d.root), d.root.Close())
}

// leave finishes the directories that the next member is not in.
func (d *Dir) leave(next string) {
	for n := len(d.open) - 1; n >= 0 && !strings.HasPrefix(next, d.open[n].member.Name+"/"); n-- {
		d.set(d.finish(&d.open[n]))
		d.open = d.open[:n]
	}
}

// set takes note of an error of setting permissions or times. It is none of
// what is there already, still less of the member that comes next.
func (d *Dir) set(err error) {
	if err == nil {
		return
	}
	if d.unset++; d.why == nil {
		d.why = err
	}
}

// finish gives a directory its mode and times.
func (d *Dir) finish(e *entered) error {
	if !e.fresh && d.noClobber {
		return nil
	}
	err := d.root.Chtimes(e.name, e.member.Modified, e.member.Modified)
	switch {
	case e.member.Mode != 0:
		err = errors.Join(err, d.root.Chmod(e.name, fileMode(e.member.Mode, 0o7777)))
	case e.fresh: // it was closed to others while it was filled
		err = errors.Join(err, d.root.Chmod(e.name, 0o777&^stage.Umask()))
	case e.was&0o700 != 0o700: // enter opened it
		err = errors.Join(err, d.root.Chmod(e.name, e.was))
	}
	return err
}

// enter makes a directory, or goes into one that is there. A link in its place
// is not followed.
func (d *Dir) enter(name string, m *archive.Member) error {
	fi, err := d.root.Lstat(name)
	switch {
	case err == nil && fi.IsDir():
		if !d.noClobber && fi.Mode().Perm()&0o700 != 0o700 { // to be filled, until it is finished
			d.set(d.root.Chmod(name, fi.Mode()|0o700))
		}
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
	e := entered{name: name, member: *m, fresh: fi == nil}
	if fi != nil {
		e.was = fi.Mode()
	}
	d.open = append(d.open, e)
	if e.fresh || !d.noClobber {
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

// above makes sure that the directory is there that a member is in. Nothing is
// written below what is no directory of the archive's.
func (d *Dir) above(m *archive.Member) error {
	if dir := path.Dir(m.Name); dir != "." && (len(d.open) == 0 || d.open[len(d.open)-1].member.Name != dir) {
		return d.way(dir)
	}
	return nil
}

// place makes sure that something may come to be at name.
func (d *Dir) place(name string, m *archive.Member) error {
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
	d.set(linkTime(d.root, temp, m.Modified))
	err := d.root.Rename(temp, name)
	if err != nil {
		_ = d.root.Remove(temp) // its name tells what it is
	}
	return err
}
