// Package seal reads and writes sealed files: the one format in which EFS keeps
// contents, archives and exchanged documents. docs/sealed-file.md specifies it
// to the byte, testdata has vectors for other implementations.
//
// For files of any length use NewWriter and NewReader; for parts of a file
// NewReaderAt; for what is in memory anyway SealBytes and OpenBytes. Each file
// needs a Recipient when it is sealed, and an Identity of that Recipient when
// it is opened:
//
//	PassphraseRecipient   PassphraseIdentity   a passphrase, for people
//	PublicKey             PrivateKey           a key pair (GenerateKeyPair), for exchange
//	KeyRecipient          KeyIdentity          a key held in a keyring, for servers
//
// # Keeping keys
//
// Whoever has the sealed files and a key has the contents, so keep them apart:
// a private key's text form ("EFS-SECRET-KEY-1…") belongs in a safe or a secret
// store, never beside what it opens. A file sealed with several stages needs a
// key for each of them: give these to different places, and one thief opens
// nothing. There is no way in without the keys; keep a second copy of them.
//
// # What a reader may rely on
//
// No byte is given out that was not authenticated: not by a Reader that fails
// later, not for a range. But only io.EOF says that the file is whole; whoever
// acts earlier acts on a beginning. FS and Content in Open must be the ones the
// file was sealed with, so that one file cannot stand in for another; only
// tools that take any file set Open.Any.
//
// # What stays
//
// Files of version 1 of the format will always open. What a later version adds
// either may be ignored (negative field numbers) or makes older readers fail
// early with ErrUnsupported. A sealed file is never changed after Close.
package seal
