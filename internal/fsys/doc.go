// Package fsys is the core of EFS: it turns paths into entries and entries
// into contents, on an index, a store of blobs and the keys of one file
// system, all of which see nothing but ids, tokens and sealed bytes.
//
// Create makes a file system and Open opens one; both start its background
// work, which Close ends. Everything else is a method of FS and safe for
// concurrent use. What is confirmed by a nil error is durable.
//
// Errors that are the caller's (not found, exists, a condition) name the path;
// those that an operator is to see in a log (efs.ErrDamaged, efs.ErrUnavailable,
// efs.ErrStopped, efs.ErrNoSpace) name ids, never paths.
//
// docs/index.md describes the records, every step of a store, and what a crash
// between any two of them leaves.
package fsys
