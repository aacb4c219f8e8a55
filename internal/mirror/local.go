package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs/internal/ctxio"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/treesync"
)

// local is a tree on this machine. Below its root, which may be reached
// through a symbolic link, no link is followed out of it.
type local struct {
	dir    string
	root   *os.Root // nil: the directory is not there yet
	source bool     // names that a file system cannot hold are told
	parts  atomic.Int64
	moved  int // how often another directory has come to have the name
}

func openLocal(dir string) (*local, error) {
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &local{dir: dir}, nil
	}
	if info, serr := os.Stat(dir); err != nil && serr == nil && !info.IsDir() {
		return &local{dir: dir}, fmt.Errorf("%s: %w", dir, errNotDir)
	}
	return &local{dir: dir, root: root}, err
}

// refresh opens the directory that has the name now: while a tree is watched,
// another may take its place, and what is listed of one is not to be read from
// the other. errNotThere where none has the name any more. Nothing else is done
// with the tree meanwhile.
func (l *local) refresh() error {
	if l.root == nil {
		return errNotThere
	}
	held, err := l.root.Stat(".")
	if err != nil {
		return err
	}
	named, err := os.Stat(l.dir)
	if err == nil && os.SameFile(held, named) {
		return nil
	}
	l.moved++
	_ = l.root.Close() // a handle to a directory
	l.root = nil
	again, err := openLocal(l.dir)
	if err != nil {
		return err
	}
	if l.root = again.root; l.root == nil {
		return errNotThere
	}
	return nil
}

func (l *local) prepare(context.Context) error {
	if l.root != nil {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o777); err != nil {
		return err
	}
	var err error
	l.root, err = os.OpenRoot(l.dir)
	return err
}

func (l *local) close() error {
	if l.root == nil {
		return nil
	}
	return l.root.Close()
}

func (l *local) temporary() int { return int(l.parts.Load()) }

func (l *local) name(path string) string { return filepath.Join(l.dir, filepath.FromSlash(path)) }

// osPath is the path as this machine writes it.
func osPath(path string) (string, error) {
	p, err := filepath.Localize(path)
	if err != nil {
		return "", fmt.Errorf("%q cannot be a name on this machine", path)
	}
	return p, nil
}

// permissions are the bits that are kept and given. Set-user-ID and the like
// are not: whoever stores a file elsewhere does not make programs run with the
// rights of who fetches it.
const permissions = 0o777

// known is a time in microseconds since 1970. 0 says that none is known, and
// there are files of just that time: theirs is the next one.
func known(t time.Time) int64 {
	if n := t.UnixMicro(); n != 0 {
		return n
	}
	return 1
}

func nodeOf(path string, fi fs.FileInfo) treesync.Node {
	n := treesync.Node{Path: path, Modified: known(fi.ModTime()), Stamp: stampOf(fi)}
	switch fi.Mode().Type() {
	case 0:
		n.Kind, n.Size = treesync.File, fi.Size()
	case fs.ModeDir:
		n.Kind = treesync.Dir
	case fs.ModeSymlink:
		n.Kind = treesync.Symlink
		return n
	default:
		n.Kind = treesync.Other
		return n
	}
	if m := uint32(fi.Mode().Perm() & permissions); keepsModes && m != 0 {
		n.Mode, n.HasMode = m, true
	}
	return n
}

// open opens a regular file for reading, and tells what it is now.
func (l *local) open(path string) (*os.File, treesync.Node, error) {
	name, err := osPath(path)
	if err != nil {
		return nil, treesync.Node{}, err
	}
	f, err := l.root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, treesync.Node{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file any more", l.name(path))
	}
	if err != nil {
		_ = f.Close() // read only
		return nil, treesync.Node{}, err
	}
	return f, nodeOf(path, fi), nil
}

func (l *local) digest(ctx context.Context, n *treesync.Node) (treesync.Digest, error) {
	f, now, err := l.open(n.Path)
	if err != nil {
		return treesync.Digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, ctxio.NewReader(ctx, f)); err != nil {
		return treesync.Digest{}, err
	}
	if after, err := f.Stat(); err != nil || stampOf(after) != n.Stamp || now.Stamp != n.Stamp {
		return treesync.Digest{}, errors.Join(fmt.Errorf("%s changed while it was read", l.name(n.Path)), err)
	}
	return treesync.Digest(h.Sum(nil)), nil
}

// lstat tells what is at a path now, nil for nothing.
func (l *local) lstat(path string) (*treesync.Node, error) {
	name, err := osPath(path)
	if err != nil {
		return nil, err
	}
	fi, err := l.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := nodeOf(path, fi)
	return &n, nil
}

func (l *local) stat(_ context.Context, path string) (*treesync.Node, error) { return l.lstat(path) }

// still checks that at path there is what was listed.
func (l *local) still(path string, listed *treesync.Node) error {
	now, err := l.lstat(path)
	if err != nil {
		return err
	}
	if (now == nil) != (listed == nil) || now != nil && (now.Kind != listed.Kind || now.Stamp != listed.Stamp) {
		return errMoved
	}
	return nil
}

func (l *local) mkdir(_ context.Context, n *treesync.Node) error {
	name, err := osPath(n.Path)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o777)
	if n.HasMode {
		mode = fs.FileMode(n.Mode&permissions) | 0o700 // no wider meanwhile than it will be
	}
	err = l.root.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) {
		if have, serr := l.lstat(n.Path); serr == nil && have != nil && have.Kind == treesync.Dir {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return stage.SyncDir(l.root, filepath.Dir(name)) // what will be in it is not to be lost with it
}

func (l *local) attributes(_ context.Context, n *treesync.Node) error {
	name, err := osPath(n.Path)
	if err != nil || n.Kind == treesync.Symlink {
		return err
	}
	if have, err := l.lstat(n.Path); err != nil || have == nil || have.Kind != n.Kind {
		return errors.Join(errMoved, err)
	}
	if n.HasMode && keepsModes {
		if err := l.root.Chmod(name, fs.FileMode(n.Mode&permissions)); err != nil {
			return err
		}
	}
	if n.Modified == 0 {
		return nil
	}
	t := time.UnixMicro(n.Modified)
	return l.root.Chtimes(name, t, t)
}

func (l *local) symlink(_ context.Context, a *treesync.Action, force bool) (string, error) {
	name, err := osPath(a.Path)
	if err != nil {
		return "", err
	}
	temp := filepath.Join(filepath.Dir(name), stage.TemporaryName())
	if err := l.root.Symlink(a.Source.Target, temp); err != nil {
		return "", err
	}
	if !force && !a.Clear {
		err = l.still(a.Path, a.Dest)
	}
	if err == nil {
		err = l.root.Rename(temp, name)
	}
	if err != nil {
		_ = l.root.Remove(temp) // best effort: its name tells what it is
		return "", err
	}
	return "", stage.SyncDir(l.root, filepath.Dir(name))
}

func (l *local) remove(_ context.Context, n *treesync.Node, force bool) error {
	name, err := osPath(n.Path)
	if err != nil {
		return err
	}
	now, err := l.lstat(n.Path)
	if err != nil || now == nil {
		return err
	}
	if now.Kind != n.Kind || n.Kind != treesync.Dir && !force && now.Stamp != n.Stamp {
		return errMoved
	}
	err = l.root.Remove(name)
	if n.Kind == treesync.Dir && isNotEmpty(err) {
		return errNotEmpty
	}
	return err
}

func (l *local) clear(_ context.Context, n *treesync.Node) error {
	name, err := osPath(n.Path)
	if err != nil {
		return err
	}
	return l.root.RemoveAll(name)
}

// isNotEmpty reports that a directory could not be removed for what is in it.
func isNotEmpty(err error) bool {
	return err != nil && (errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), "not empty"))
}
