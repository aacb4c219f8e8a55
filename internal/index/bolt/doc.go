// Package bolt is the embedded index: efs.Index in a bbolt file with a
// write-ahead log in front of it, one process at a time. What lies where on the
// volume, and what a crash leaves, is in docs/index-engine.md.
//
// # What lies where
//
// A bucket per keyspace holds key → version ‖ sealed. Beside them stand the
// change log (seq → link ‖ sealed), the release queue (revision ‖ content →
// seq ‖ flags), the marks, what accounts use, and meta: format version, file
// system id, sealed head, place in the log. The engine sees no name and no
// plaintext.
//
// # Commits
//
// One goroutine commits. It takes everything that was queued while the last
// commit was on its way to the disk and commits it together; nobody waits for
// a timer. Each transaction is checked against the state that the earlier ones
// of its batch have made, and changes nothing before all its checks and bounds
// have passed, so that one that is refused leaves no trace and fails no other.
// A batch is one record of the log: one write, one sync. What it did lies in
// the active generation, a table in memory, and readers see it there after the
// sync. Another goroutine, the flusher, puts full generations into the file,
// each in one transaction.
//
// # A failed write or sync
//
// After a failed sync nobody knows what the disk holds: the kernel drops the
// pages it could not write and reports the failure once. So it is final. The
// callers of that batch get efs.ErrStopped with the words "outcome unknown",
// later ones efs.ErrStopped; only opening the index again tells what is there.
// Reads go on. The record is overwritten, and readers never see it; only where
// even that fails, and the record was written though not synced, they see it,
// as the next start will find it.
//
// # Space, and deleting on a full disk
//
// bbolt would grow its file sparsely and learn of a full disk in the middle of
// a commit, when going on is no longer safe. Here the file's blocks are
// allocated before they are needed, and bbolt is told not to allocate pages
// beyond them (MaxSize, kept in step). A batch goes to the log only if the file
// has room for what it will cost to put it there (cost); else the file is grown
// and synced first. When the volume has no room left, everything is flushed,
// and the transactions are committed directly to the file: together if they
// fit, else one by one, and only those that do not fit get efs.ErrNoSpace;
// nothing stops.
//
// The last part of the allocated file (Options.Reserve, 8 MiB) is for
// transactions that give back: those that delete at least as many records as
// they write, housekeeping, and writes of access records, since a user must be
// revocable whatever the disk says. They free pages inside the file, which
// later transactions use, and let contents be deleted from the volume. The
// reserve is made again by the next growth that succeeds.
//
// bbolt wants a run of neighbouring pages for a value larger than a page, and
// for its list of free pages. So on a full volume a value of hundreds of
// kilobytes may find no room although more than that is free in all; inline
// contents are far smaller.
//
// On volumes that write anew what is overwritten (btrfs, ZFS) no allocation
// protects from ENOSPC; there a full disk may stop the index until there is
// room and it is opened again. Nothing confirmed is lost in that case either.
package bolt
