// Package keyring keeps the keys of file systems, wrapped, in a store of its
// own (keys.db), and hands them to package seal while they are alive.
//
// Keys form a tree: a master key in a KMS wraps an epoch key and a root
// secret per stage; an epoch key wraps the file keys of contents. The form of
// every record, and what losing each key means, is in docs/keys.md.
//
// An unwrapped key has a hard lifetime; a key in use is unwrapped again at
// half of it, so that a KMS which refuses is obeyed at once and one which does
// not answer within that lifetime.
package keyring
