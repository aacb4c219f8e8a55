// Package fault runs the real server on a file system that fails on purpose:
// a FUSE mount that passes everything through to a directory and lets the
// n-th changing operation fail with an error of choice.
package fault

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Injector counts operations that change the volume and fails some.
type Injector struct {
	mu     sync.Mutex
	count  int
	at     int           // the operation that fails, counted from 1; 0: none
	errno  syscall.Errno // what it fails with
	sticky bool          // and all that need space after it
	full   bool          // the volume has no room: what needs new blocks fails
	hit    string        // the first operation that failed
}

// Arm lets operation at, counted from now, fail with errno. If sticky, later
// operations that need space fail too until Disarm.
func (i *Injector) Arm(at int, errno syscall.Errno, sticky bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count, i.at, i.errno, i.sticky, i.full, i.hit = 0, at, errno, sticky, false, ""
}

// Fill makes the volume full until Disarm, as ext4 or XFS is full: blocks that
// a file has can be written, new ones cannot be had.
func (i *Injector) Fill() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count, i.at, i.full, i.hit = 0, 0, true, ""
}

// Disarm ends failures and returns how many operations were counted since
// Arm and which one failed first.
func (i *Injector) Disarm() (count int, hit string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at, i.full = 0, false
	return i.count, i.hit
}

// Hit returns the operation that failed first, or "".
func (i *Injector) Hit() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hit
}

// need says what an operation needs of the volume.
type need int

const (
	nothing   need = iota
	overwrite      // of blocks that the file has
	blocks         // new ones
)

func (i *Injector) check(op string, n need) syscall.Errno {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count++
	switch {
	case i.full && n == blocks:
		return syscall.ENOSPC
	case i.at == 0 || i.count < i.at:
		return 0
	case i.errno == syscall.ENOSPC && n == nothing:
		// A full disk does not fail an unlink; the next operation that
		// needs space is the one that fails.
		if i.hit == "" {
			i.at = i.count + 1
		}
		return 0
	case i.count == i.at || i.sticky:
		if i.hit == "" {
			i.hit = fmt.Sprintf("#%d %s", i.count, op)
		}
		return i.errno
	}
	return 0
}

// Mount shows backing at mountpoint through an Injector until the test ends.
func Mount(t testing.TB, backing, mountpoint string) *Injector {
	t.Helper()
	base, err := fs.NewLoopbackRoot(backing)
	if err != nil {
		t.Fatal(err)
	}
	inj := &Injector{}
	second := time.Second
	srv, err := fs.Mount(mountpoint, &node{base.(*fs.LoopbackNode), inj}, &fs.Options{
		EntryTimeout: &second, AttrTimeout: &second,
		MountOptions: fuse.MountOptions{DirectMount: syscall.Geteuid() == 0, FsName: "fault", Name: "fault", MaxWrite: 1 << 20},
	})
	if err != nil {
		t.Fatalf("mounting the faulty volume needs /dev/fuse: %v", err)
	}
	t.Cleanup(func() {
		for range 50 {
			if err = srv.Unmount(); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("unmounting: %v", err)
	})
	return inj
}

// node passes operations through to the directory, those that change
// something past the injector.
type node struct {
	*fs.LoopbackNode
	inj *Injector
}

func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode), n.inj}
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if e := n.inj.check("create "+name, blocks); e != 0 {
		return nil, nil, 0, e
	}
	ino, fh, ff, e := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return ino, wrap(fh, n.inj, name), ff, e
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, ff, e := n.LoopbackNode.Open(ctx, flags)
	return wrap(fh, n.inj, n.Path(n.Root())), ff, e
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.inj.check("mkdir "+name, blocks); e != 0 {
		return nil, e
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if e := n.inj.check("unlink "+name, nothing); e != 0 {
		return e
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if e := n.inj.check("rmdir "+name, nothing); e != 0 {
		return e
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.inj.check("link "+name, blocks); e != 0 {
		return nil, e
	}
	return n.LoopbackNode.Link(ctx, target, name, out)
}

func (n *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if e := n.inj.check("rename "+name+" to "+newName, blocks); e != 0 {
		return e
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *node) Setattr(ctx context.Context, fh fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if e := n.inj.check(fmt.Sprintf("truncate %s to %d", n.Path(n.Root()), size), nothing); e != 0 {
			return e
		}
	}
	if f, ok := fh.(*file); ok {
		fh = f.LoopbackFile
	}
	return n.LoopbackNode.Setattr(ctx, fh, in, out)
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, ff, e := n.LoopbackNode.OpendirHandle(ctx, flags)
	if s, ok := fh.(dirStream); ok {
		fh = &dir{s, n.inj, n.Path(n.Root())}
	}
	return fh, ff, e
}

// Tmpfile is refused, so that creations are seen by name.
func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EOPNOTSUPP
}

// CopyFileRange is refused, so that every byte passes through Write.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

type file struct {
	*fs.LoopbackFile
	inj  *Injector
	name string
}

func wrap(fh fs.FileHandle, inj *Injector, name string) fs.FileHandle {
	if lf, ok := fh.(*fs.LoopbackFile); ok {
		return &file{lf, inj, name}
	}
	return fh
}

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n := overwrite
	var out fuse.AttrOut
	if e := f.Getattr(ctx, &out); e != 0 || uint64(off)+uint64(len(data)) > out.Size {
		n = blocks
	}
	if e := f.inj.check(fmt.Sprintf("write %s at %d", f.name, off), n); e != 0 {
		return 0, e
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if e := f.inj.check("fsync "+f.name, nothing); e != 0 {
		return e
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if e := f.inj.check("allocate "+f.name, blocks); e != 0 {
		return e
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

// PassthroughFd is refused: the kernel must ask for every write.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

// dirStream is what the loopback's open directories can do.
type dirStream interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
	fs.FileFsyncdirer
}

type dir struct {
	dirStream
	inj  *Injector
	name string
}

func (d *dir) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if e := d.inj.check("fsync directory "+d.name, nothing); e != 0 {
		return e
	}
	return d.dirStream.Fsyncdir(ctx, flags)
}
