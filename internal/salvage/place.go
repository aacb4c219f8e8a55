package salvage

import (
	"os"
	"path/filepath"

	"github.com/efs-project/efs/internal/journal"
)

// Place says where the parts of a file system lie. Root is enough where they
// lie as a server puts them; the others name parts on volumes of their own.
type Place struct {
	Root   string // of the server
	Name   string // of the file system
	Server string // the server's directory; "": Root/.server
	Keys   string // keys.db, or the directory that holds it; "": in Server
	System string // NAME/system, or what holds it; "": below Root
	Index  string // index.db; "": in System
	Files  string // NAME/files, or what holds it; "": below Root
}

// complete fills in what is left to Root.
func (p Place) complete() Place {
	if p.Server == "" {
		p.Server = filepath.Join(p.Root, ".server")
	}
	if p.Keys == "" {
		p.Keys = p.Server
	}
	if isDir(p.Keys) {
		p.Keys = filepath.Join(p.Keys, "keys.db")
	}
	p.System = p.below(p.System, "system")
	p.Files = p.below(p.Files, "files")
	if p.Index == "" {
		p.Index = filepath.Join(p.System, "index.db")
	} else if isDir(p.Index) {
		p.Index = filepath.Join(p.below(p.Index, ""), "index.db")
	}
	return p
}

// below is dir/NAME/part, as [storage] means a directory, where that exists;
// else dir itself.
func (p Place) below(dir, part string) string {
	if dir == "" {
		return filepath.Join(p.Root, p.Name, part)
	}
	if full := filepath.Join(dir, p.Name, part); isDir(full) {
		return full
	}
	return dir
}

func (p Place) journal() string { return filepath.Join(p.Files, journal.Dir) }

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
