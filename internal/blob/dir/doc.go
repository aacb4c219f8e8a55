// Package dir keeps blobs as files in a directory, which may lie on a shared
// volume: efs.Blobs for local disks, NFS and CephFS.
//
//	files/layout              the fan-out, fixed when the directory was made
//	files/.new/<uuid>         committed, not yet in its place
//	files/.new/<uuid>.tmp     being written
//	files/xx/xx/<uuid>        in its place; xx are the id's first hex pairs
//	files/.quarantine/xx/<uuid>.<seconds>   out of sight since that Unix time
//
// # What survives a crash
//
// A blob is written under a temporary name, synced, renamed within .new, and
// .new is synced; only then does Commit return. Whatever ends in .tmp when a
// Store is opened was never committed and is removed. One Store at a time may
// be open on a directory.
//
// Settling renames a blob from .new to its place and syncs nothing. A rename
// within a volume is one step to its journal, as is the making of the
// directories before it, which the journal keeps in order; so after a crash the
// blob lies in one place or in the other, and readers look in both. Removing
// syncs the directory that held the blob, since what was deleted must not come
// back. Readers look in the place, in .new, and in the place again: blobs move
// only in that direction, so none escapes.
//
// Volumes without a journal (vfat, exFAT) do not promise this for renames. On
// them settling syncs both directories, which makes the gap short but does not
// close it: a power failure in it can lose the name. Do not keep on such a
// volume what has no copy elsewhere.
//
// Directory syncs are shared: whoever asks while one runs waits for the next,
// which serves all who have asked by then.
//
// # How a blob is written
//
// In pieces of 128 KiB to 1 MiB which, on ext4 and XFS, pass by the page cache
// (O_DIRECT); the end of a blob, less than 128 KiB, and small blobs go through
// it. What the writer hands over in memory as it will lie in blocks of the file,
// as seal.Writer does, is written from there without a copy. Passing
// by spares a copy into memory that the kernel would have to find first, leaves
// nothing behind an upload for which the syncs of others would wait, and keeps
// in the page cache what is read. The first reading after a large store comes
// from the disk. All uploads together have the device make durable what it was
// given as often as that is a few MiB, since whoever syncs a few bytes waits for
// all of it. On other volumes large blobs are sent to the disk while they
// are written.
//
// # Who can write the volume
//
// Nothing is reached through a symbolic link below the root, and only regular
// files are blobs. Files have mode 0600, directories 0700.
//
// # Placement
//
// Ids are random, so contents spread evenly. Whoever would use ids that begin
// with the time would fill one directory: contents have random ids (efs.NewID).
// Two levels of 256 directories keep every directory below 16,383 entries up to
// 1.01 * 10^9 contents, which is what vfat can hold, and below 65,535 up to
// 4.1 * 10^9; three levels reach further. Package tests place 10^9 contents
// under both. Directories are made when the first of their blobs is settled.
package dir
