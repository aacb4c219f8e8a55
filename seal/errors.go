package seal

import "errors"

// The kinds of failure, for errors.Is. None of the errors of this package
// carries key material or plaintext.
var (
	// ErrTampered: the bytes are not what was sealed under these keys for this
	// file system and content: changed, exchanged, reordered or extended.
	ErrTampered = errors.New("sealed file has been altered")

	// ErrTruncated: the end of the sealed file is missing.
	ErrTruncated = errors.New("sealed file is cut off")

	// ErrNoKey: none of the identities opens a stage. For a passphrase this is
	// also what a wrong one gives.
	ErrNoKey = errors.New("no key opens the sealed file")

	// ErrFormat: not a sealed file, or one that breaks the rules of the format.
	ErrFormat = errors.New("malformed sealed file")

	// ErrUnsupported: a newer version of the format, a critical field or an
	// algorithm that this package does not know, or parameters above a limit.
	ErrUnsupported = errors.New("unsupported sealed file")

	// ErrParams: the caller asked for something that cannot be sealed.
	ErrParams = errors.New("invalid sealing parameters")

	// ErrClosed: used after Close or Abort.
	ErrClosed = errors.New("already closed")
)
