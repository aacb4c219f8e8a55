// Package transfer copies files and trees between this machine and file
// systems: it plans what goes where, then does it with bounded workers. A
// receiver sees each file whole or not at all.
package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/client"
)

// Place is one end of a copy: a path on this machine, or one in a file system.
type Place struct {
	Client *client.Client // nil: this machine
	Remote string         // the name a person gave the file system, for messages; "": there is but one
	Path   string
}

// String is how a person writes it: drive:/path, or a local path.
func (p Place) String() string {
	if p.Client == nil {
		return p.Path
	}
	path := "/" + strings.TrimPrefix(p.Path, "/")
	if p.Remote == "" {
		return path
	}
	return p.Remote + ":" + path
}

// local reports whether the place is on this machine.
func (p Place) local() bool { return p.Client == nil }

// meansDir reports whether the path is written as a directory's.
func (p Place) meansDir() bool {
	if p.local() {
		return p.Path == "" || os.IsPathSeparator(p.Path[len(p.Path)-1])
	}
	return strings.Trim(p.Path, "/") == "" || strings.HasSuffix(p.Path, "/")
}

// base is the last name of the path, "" for a root and for "." and "..".
func (p Place) base() string {
	b := path.Base(strings.TrimSuffix(p.Path, "/"))
	if p.local() {
		b = filepath.Base(p.Path)
	}
	if b == "." || b == ".." || b == "/" || b == string(filepath.Separator) {
		return ""
	}
	return b
}

// join is a place below p; rel has slashes.
func (p Place) join(rel string) Place {
	switch {
	case rel == "":
	case p.local():
		p.Path = filepath.Join(p.Path, filepath.FromSlash(rel))
	default:
		p.Path = strings.TrimSuffix(p.Path, "/") + "/" + rel
	}
	return p
}

// info is what planning needs to know about a place.
type info struct {
	exists, dir bool
	regular     bool
	size        int64
	mode        fs.FileMode
}

// stat looks a place up; what is not there is no error. Symbolic links are
// followed.
func (p Place) stat(ctx context.Context) (info, error) {
	if p.local() {
		fi, err := os.Stat(orDot(p.Path))
		if errors.Is(err, fs.ErrNotExist) {
			return info{}, nil
		}
		if err != nil {
			return info{}, err
		}
		return info{exists: true, dir: fi.IsDir(), regular: fi.Mode().IsRegular(), size: fi.Size(), mode: fi.Mode()}, nil
	}
	e, err := p.Client.Stat(ctx, p.Path)
	if errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrNotDir) {
		return info{}, nil
	}
	if err != nil {
		return info{}, err
	}
	return info{exists: true, dir: e.IsDir(), regular: e.Kind == "file", size: e.Size}, nil
}

func orDot(p string) string {
	if p == "" {
		return "."
	}
	return p
}
