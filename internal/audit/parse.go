package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// Line is a line of the log as it was read.
type Line struct {
	V       int       `json:"v"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Op      string    `json:"op"`
	User    string    `json:"user,omitempty"`
	FS      string    `json:"fs,omitempty"`
	From    string    `json:"from,omitempty"`
	Method  string    `json:"method,omitempty"`
	Object  efs.ID    `json:"object,omitzero"`
	Name    []byte    `json:"name,omitempty"`
	To      []byte    `json:"to,omitempty"`
	Outcome string    `json:"outcome,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Session string    `json:"session,omitempty"`
	Request string    `json:"request,omitempty"`
	FSID    efs.ID    `json:"fs_id,omitzero"`
	Change  uint64    `json:"change,omitempty"`
	Late    bool      `json:"recovered,omitempty"`
	First   uint64    `json:"first,omitempty"` // of a cut: the first line that is kept
	Before  string    `json:"before,omitempty"`
	Root    efs.ID    `json:"root,omitzero"`
	Prev    string    `json:"prev"`
	Sig     string    `json:"sig,omitempty"`
	MAC     string    `json:"mac"`

	raw  []byte // with its end
	head []byte // of raw: what a signature is over
	body []byte // of raw: what the MAC is over
}

const (
	macMark = `","mac":"`
	sigMark = `","sig":"`
	lineEnd = "\"}\n"
)

// parse takes a line apart. raw is kept.
func parse(raw []byte) (*Line, error) {
	l := &Line{raw: raw}
	end := len(raw) - len(lineEnd) - hashText - len(macMark)
	if end < 0 || !bytes.HasSuffix(raw, []byte(lineEnd)) || string(raw[end:end+len(macMark)]) != macMark {
		return nil, fmt.Errorf("it is not a whole line: %w", efs.ErrDamaged)
	}
	var version struct {
		V int `json:"v"`
	}
	if json.Unmarshal(raw, &version) == nil && version.V > Version {
		return nil, fmt.Errorf("it has format %d, this program knows %d: a newer EFS wrote it, use that one: %w", version.V, Version, efs.ErrDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("it is no event: %v: %w", err, efs.ErrDamaged)
	}
	if l.V != Version {
		return nil, fmt.Errorf("it has format %d, which this program does not know: %w", l.V, efs.ErrDamaged)
	}
	l.body = raw[:end]
	if at := end - signText - len(sigMark); at > 0 && string(raw[at:at+len(sigMark)]) == sigMark {
		l.head = raw[:at]
	} else if l.Sig != "" {
		return nil, fmt.Errorf("its signature is out of place: %w", efs.ErrDamaged)
	}
	return l, nil
}

// Raw returns the exact bytes of the line, its end included.
func (l *Line) Raw() []byte { return l.raw }

// Signed reports whether the line bears a signature: heads do, and what
// explains a gap.
func (l *Line) Signed() bool { return l.head != nil }

// checkSignature checks the signature of a line that bears one.
func (l *Line) checkSignature(p ed25519.PublicKey) error {
	sig, err := encoding.DecodeString(l.Sig)
	if err != nil || !ed25519.Verify(p, signed(l.head), sig) {
		return fmt.Errorf("its signature is not of this log: %w", efs.ErrDamaged)
	}
	return nil
}
