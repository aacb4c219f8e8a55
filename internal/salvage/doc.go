// Package salvage reads the files of a file system from what lies on its
// volume, without a server: the keys from keys.db (or a backup, or the copies
// beside the file system), opened with the starter key or the private half of
// the recovery recipient; the tree from the index, a checkpoint or the journal,
// or, where there is none of them, from what the trailers of the contents tell.
//
// It writes nothing there, takes no lock that a server holds, and goes on past
// what is damaged: a Report says what is missing.
package salvage
