// Package treesync decides what has to be done so that one tree follows
// another: two listings and the memory of the last time go in, actions come
// out. It reads and writes nothing.
//
// Content is compared by size and SHA-256. What both sides were when they were
// last in step is the common ancestor of a three-way comparison: what only the
// destination changed is kept, what both changed is a conflict, and neither is
// ever overwritten unasked.
package treesync

import (
	"cmp"
	"slices"
	"strings"
)

// Kind tells what a node is.
type Kind uint8

// The kinds of node. Other is what cannot be copied: devices, sockets, pipes.
const (
	File Kind = 1 + iota
	Dir
	Symlink
	Other
)

// String is what a person calls the kind.
func (k Kind) String() string {
	return [...]string{"nothing", "file", "directory", "symbolic link", "special file"}[min(k, Other)]
}

// Digest is a SHA-256; the zero Digest is one that is not known.
type Digest [32]byte

// Known reports whether the digest is known.
func (d Digest) Known() bool { return d != Digest{} }

// Node is what a side has under a path.
type Node struct {
	Path     string // below the tree's root, with slashes, without one at either end
	Kind     Kind
	Size     int64  // of a file, bytes
	Modified int64  // microseconds since 1970; 0: not known
	Mode     uint32 // permission bits, where HasMode
	HasMode  bool
	Digest   Digest // of a file
	Target   string // of a symbolic link
	Version  string // a token that changes with the content (an ETag); "" where the side has none
	Stamp    Stamp  // of what is on this machine
}

// Stamp shows that something on this machine was written: its size in bytes,
// its times in nanoseconds since 1970, its inode.
type Stamp struct {
	Size, Modified, Changed int64
	Inode                   uint64
}

// Base is what both sides had under a path when they were last in step.
type Base struct {
	Kind         Kind
	Size         int64
	Digest       Digest
	Target       string
	Source, Dest string // the sides' versions then
}

// Order compares paths so that a directory stands before what is in it, and
// all that is in it behind it without a gap.
func Order(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return cmp.Compare(rank(a[i]), rank(b[i]))
		}
	}
	return cmp.Compare(len(a), len(b))
}

func rank(c byte) int {
	if c == '/' {
		return -1
	}
	return int(c)
}

// Sort puts nodes into the order that Compare wants.
func Sort(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return Order(a.Path, b.Path) })
}

// below reports whether path lies in the directory dir.
func below(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && strings.HasPrefix(path, dir)
}

// changed reports whether n is no longer what the base says; version is the
// base's for n's side.
func changed(n *Node, b *Base, version string) bool {
	switch {
	case n.Kind != b.Kind:
		return true
	case n.Kind == Symlink:
		return n.Target != b.Target
	case n.Kind != File:
		return false
	case n.Size != b.Size:
		return true
	case n.Digest.Known() && b.Digest.Known():
		return n.Digest != b.Digest
	}
	return n.Version == "" || n.Version != version
}

// same reports whether two nodes have the same content. Where a digest is
// missing, the sides are the same if neither has changed since they were, and
// else if their times say so.
func same(s, d *Node, b *Base) bool {
	switch {
	case s.Kind != d.Kind:
		return false
	case s.Kind == Symlink:
		return s.Target == d.Target
	case s.Kind != File:
		return true
	case s.Size != d.Size:
		return false
	case s.Digest.Known() && d.Digest.Known():
		return s.Digest == d.Digest
	case b != nil:
		return !changed(s, b, b.Source) && !changed(d, b, b.Dest)
	}
	return s.Modified != 0 && s.Modified == d.Modified
}

// sameAttributes reports whether the destination has the permissions and the
// time of the source, as far as the source has any. The time of a symbolic
// link is nobody's concern.
func sameAttributes(s, d *Node) bool {
	if s.Kind == Symlink {
		return true
	}
	return (!s.HasMode || d.HasMode && s.Mode == d.Mode) && (s.Modified == 0 || s.Modified == d.Modified)
}
