// Package pkcs11 is the KMS whose master keys lie in a hardware security
// module, or in whatever else speaks PKCS #11 (OASIS, version 2.40). The keys
// are AES-256, made in the token, sensitive and not extractable: wrapping and
// unwrapping is done by the token, with AES-GCM (CKM_AES_GCM), and what a wrap
// is for is authenticated with it.
//
// It is built with -tags pkcs11, as it needs cgo to load the token's library.
// Without the tag this package is empty.
//
// # Objects on the token
//
// Every version of a master key is a secret key object with the label
// "efs:ID" and as CKA_ID its version (uint32, big-endian) and the time of its
// creation (int64, big-endian, Unix time in microseconds). Rotation makes a
// further one.
//
// A token knows no "disabled" and no "to be deleted in a week". That, with
// description and tags, is in a data object (CKO_DATA, application "efs", label
// "efs:ID") that is written when there is something to say. EFS keeps to it; who
// has the PIN and uses the token without EFS is not stopped by it. With the
// option state = "none", for tokens without data objects, those methods answer
// efs.ErrUnsupported.
//
// # Who chooses the initialisation vector
//
// EFS hands the token 12 random bytes and reads back what the token used, since
// some tokens (in FIPS mode, or AWS CloudHSM) choose it themselves; with the
// option token_iv = true it hands over zeros instead, for those that refuse
// anything else. Either way it is random and of 96 bits, so that one version of
// a master key wraps far fewer than 2^32 keys safely (NIST SP 800-38D, 8.3): EFS
// wraps a few per file system and epoch.
package pkcs11
