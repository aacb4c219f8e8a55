// Package starter finds the starter key, the one key that a server does not
// keep, and seals the server's own secrets under it.
//
// Find looks where the operator may have put the key; a Box holds what it
// seals: master keys of the local KMS, session keys, certificate authorities.
// See docs/keys.md.
package starter
