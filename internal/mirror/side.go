package mirror

import (
	"context"
	"errors"

	"github.com/efs-project/efs/internal/treesync"
)

// side is one of the two trees. Paths are below its root, with slashes.
type side interface {
	// list returns what is in the directory dir, "" for the root; with deep all
	// below it. What cannot be read is told one by one to trouble. errNotThere
	// where dir is not there.
	list(ctx context.Context, dir string, deep bool, f *treesync.Filter, trouble func(error)) ([]treesync.Node, error)
	// stat describes what is at path, nil for nothing.
	stat(ctx context.Context, path string) (*treesync.Node, error)
	// digest reads a file and returns the SHA-256 of what it read, which is
	// that of n unless an error tells that it was not n any more.
	digest(ctx context.Context, n *treesync.Node) (treesync.Digest, error)
	// prepare makes the root if it is not there.
	prepare(ctx context.Context) error
	// mkdir makes a directory, to be given its attributes at the end.
	mkdir(ctx context.Context, n *treesync.Node) error
	// attributes gives dest, or what has come to be there, the permissions and
	// the time of n.
	attributes(ctx context.Context, n *treesync.Node) error
	// symlink makes or replaces a symbolic link, and returns its version.
	symlink(ctx context.Context, a *treesync.Action, force bool) (version string, err error)
	// remove removes what is still n; directories only if they are empty.
	remove(ctx context.Context, n *treesync.Node, force bool) error
	// clear removes n with all that is in it.
	clear(ctx context.Context, n *treesync.Node) error
	// temporary tells how many names of files under way the last listing of
	// everything passed by.
	temporary() int
	// name is how a person writes the path.
	name(path string) string
	close() error
}

var (
	// errNotThere: the directory that was to be listed is not there.
	errNotThere = errors.New("there is no such directory")
	// errNotDir: a file is where the directory that was named should be.
	errNotDir = errors.New("a file, not a directory: copy files without --sync, or name the directory that it lies in")
	// errMoved: what is there is not what was listed.
	errMoved = errors.New("changed at the destination meanwhile")
	// errNotEmpty: a directory holds what was not listed, or left out.
	errNotEmpty = errors.New("not empty: something in it was left out or is new")
)
