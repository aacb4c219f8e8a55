// Package receipt is the proof that something was forgotten: what was done to
// which keys, when and by whom, signed, without a name of what it was.
//
// A signed receipt is a JSON document {"receipt": …, "key": …, "signature": …}.
// The signature is Ed25519 (RFC 8032) over the text "efs-receipt-v1", a line
// feed, and the receipt without insignificant white space, its members in the
// order in which they stand in the document. So it can be verified with no
// more than the document and the public key of the server.
package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/efs-project/efs"
)

// Format is the version of the receipts that Sign makes.
const Format = 1

const (
	signLabel    = "efs-receipt-v1\n"
	subjectLabel = "efs-receipt-subject-v1\n"
)

// Receipt says what was forgotten.
type Receipt struct {
	Format      int       `json:"format"`
	ID          efs.ID    `json:"id"`
	FS          efs.ID    `json:"fs"`
	Directory   efs.ID    `json:"directory"` // with all that was in it; zero if it had been deleted before
	Units       []efs.ID  `json:"units"`     // whose keys were destroyed
	Subject     []byte    `json:"subject"`   // Subject of the path
	By          string    `json:"by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Requested   time.Time `json:"requested"` // from then on nothing of it could be reached
	Destroyed   time.Time `json:"destroyed"` // from then on nothing of it can be opened
	Files       int64     `json:"files"`
	Directories int64     `json:"directories"`
	Bytes       int64     `json:"bytes"`             // of the files
	Outside     int64     `json:"outside,omitempty"` // files in no unit: deleted, but not out of backups
	Damaged     int64     `json:"damaged,omitempty"` // records that could not be read, and were deleted
	KeyCopies   KeyCopies `json:"key_copies"`
	NotReached  []string  `json:"not_reached"` // what forgetting cannot reach
}

// KeyCopies says until when there are copies of the destroyed keys, in backups
// of the key store.
type KeyCopies struct {
	Known int       `json:"known"`                  // copies that the server knows of
	Last  time.Time `json:"last_expires,omitzero"`  // when the last of them expires
	Never bool      `json:"never_expire,omitempty"` // one of them does not
}

// Signed is a signed receipt, as it is kept and given away.
type Signed struct {
	Receipt   json.RawMessage `json:"receipt"`
	Key       []byte          `json:"key"` // Ed25519
	Signature []byte          `json:"signature"`
}

// Sign returns r signed, as a JSON document.
func Sign(r *Receipt, key ed25519.PrivateKey) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a receipt: %w", err)
	}
	s := Signed{Receipt: body, Key: key.Public().(ed25519.PublicKey), Signature: ed25519.Sign(key, append([]byte(signLabel), body...))}
	return json.MarshalIndent(s, "", "  ")
}

// Verify returns the receipt in a document and the key that signed it.
// efs.ErrBadInput if it is none, efs.ErrDamaged if it was altered. Whose the
// key is, is for the caller to judge.
func Verify(document []byte) (*Receipt, ed25519.PublicKey, error) {
	var s Signed
	if err := strict(document, &s); err != nil {
		return nil, nil, fmt.Errorf("%w: not a signed receipt: %w", efs.ErrBadInput, err)
	}
	if len(s.Key) != ed25519.PublicKeySize {
		return nil, nil, fmt.Errorf("%w: not a signed receipt: a key of %d bytes", efs.ErrBadInput, len(s.Key))
	}
	var body bytes.Buffer
	if err := json.Compact(&body, s.Receipt); err != nil {
		return nil, nil, fmt.Errorf("%w: not a signed receipt: %w", efs.ErrBadInput, err)
	}
	if !ed25519.Verify(s.Key, append([]byte(signLabel), body.Bytes()...), s.Signature) {
		return nil, nil, fmt.Errorf("%w: the signature is not of this receipt: it was altered", efs.ErrDamaged)
	}
	r := new(Receipt)
	if err := json.Unmarshal(s.Receipt, r); err != nil {
		return nil, nil, fmt.Errorf("%w: not a receipt: %w", efs.ErrBadInput, err)
	}
	if r.Format != Format {
		return nil, nil, fmt.Errorf("%w: a receipt of format %d, this program knows %d", efs.ErrUnsupported, r.Format, Format)
	}
	return r, s.Key, nil
}

// Units returns the ids in a signed receipt of the units that were forgotten,
// for who made and kept it: the signature is not verified.
func Units(document []byte) ([]efs.ID, error) {
	var s struct {
		Receipt struct {
			Units []efs.ID `json:"units"`
		} `json:"receipt"`
	}
	if err := json.Unmarshal(document, &s); err != nil {
		return nil, fmt.Errorf("%w: not a signed receipt: %w", efs.ErrDamaged, err)
	}
	return s.Receipt.Units, nil
}

// strict refuses members that it does not know, and what follows the document.
func strict(document []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return nil
}

// NewSalt returns fresh salt for Subject.
func NewSalt() []byte {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	return salt
}

// Subject is SHA-256 over a label, the salt and the path of what was forgotten,
// without slashes around it. The salt is given to who asked and kept nowhere:
// only with it can it be shown which path a receipt is about, and without it no
// guess of the path can be tried.
func Subject(salt []byte, path string) []byte {
	h := sha256.New()
	h.Write([]byte(subjectLabel))
	h.Write(salt)
	h.Write([]byte(path))
	return h.Sum(nil)
}

// IsAbout reports whether the receipt is about a path.
func (r *Receipt) IsAbout(path string, salt []byte) bool {
	return subtle.ConstantTimeCompare(r.Subject, Subject(salt, path)) == 1
}
