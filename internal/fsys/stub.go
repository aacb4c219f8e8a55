package fsys

import (
	"context"
	"errors"
	"io"

	"github.com/efs-project/efs"
)

var errStub = errors.New("not built yet")

// FS is an open file system.
type FS struct{}

// File is a file as of one moment.
type File struct{}

func Create(ctx context.Context, o Options) (*FS, error)    { return nil, errStub }
func Open(ctx context.Context, o Options) (*FS, error)      { return nil, errStub }
func HeadSealer(id efs.ID, k Keys) (efs.HeadSealer, error)  { return nil, errStub }
func ParsePath(p string) ([]string, error)                  { return nil, errStub }
func (fs *FS) Close() error                                 { return errStub }
func (fs *FS) ID() efs.ID                                   { return efs.ID{} }
func (fs *FS) Name() string                                 { return "" }
func (fs *FS) Policy() efs.Policy                           { return efs.Policy{} }
func (fs *FS) Usage(ctx context.Context) (efs.Usage, error) { return efs.Usage{}, errStub }
func (fs *FS) Head(ctx context.Context) (efs.Head, error)   { return efs.Head{}, errStub }
func (fs *FS) Err() error                                   { return errStub }
func (fs *FS) Stats() efs.IndexStats                        { return efs.IndexStats{} }
func (fs *FS) Put(ctx context.Context, path string, body io.Reader, o PutOptions) (PutResult, error) {
	return PutResult{}, errStub
}
func (fs *FS) Stat(ctx context.Context, path string) (efs.Entry, error) { return efs.Entry{}, errStub }
func (fs *FS) Open(ctx context.Context, path string) (*File, error)     { return nil, errStub }
func (f *File) Entry() efs.Entry                                        { return efs.Entry{} }
func (f *File) ReadAt(p []byte, off int64) (int, error)                 { return 0, errStub }
func (f *File) WriteRange(w io.Writer, off, n int64) error              { return errStub }
func (f *File) Close() error                                            { return errStub }
func (fs *FS) List(ctx context.Context, dir string, o ListOptions) (entries []ListEntry, next string, err error) {
	return nil, "", errStub
}
func (fs *FS) Mkdir(ctx context.Context, path string, o MkdirOptions) (efs.Entry, error) {
	return efs.Entry{}, errStub
}
func (fs *FS) Remove(ctx context.Context, path string, o RemoveOptions) error { return errStub }
func (fs *FS) Move(ctx context.Context, from, to string, o MoveOptions) (PutResult, error) {
	return PutResult{}, errStub
}
func (fs *FS) Copy(ctx context.Context, from, to string, o CopyOptions) (PutResult, error) {
	return PutResult{}, errStub
}
func (fs *FS) Patch(ctx context.Context, path string, o PatchOptions) (efs.Entry, error) {
	return efs.Entry{}, errStub
}
func (fs *FS) Changes(ctx context.Context, since uint64, limit int) ([]efs.Change, error) {
	return nil, errStub
}
func (fs *FS) Wait(ctx context.Context, since uint64) error { return errStub }
func (fs *FS) Fsck(ctx context.Context, o FsckOptions) (*FsckReport, error) {
	return nil, errStub
}
func (fs *FS) Resolve(ctx context.Context, file efs.ID) (string, error) { return "", errStub }
func (fs *FS) AccessGet(ctx context.Context, kind, name string) ([]byte, uint64, error) {
	return nil, 0, errStub
}
func (fs *FS) AccessList(ctx context.Context, kind, after string, limit int) ([]efs.AccessRecord, error) {
	return nil, errStub
}
func (fs *FS) AccessCommit(ctx context.Context, muts []efs.AccessMutation) error { return errStub }
