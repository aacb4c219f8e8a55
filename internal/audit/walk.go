package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
	"github.com/efs-project/efs/internal/secret"
)

// maxLine bounds a line, bytes: every member at its longest is shorter.
const maxLine = 64 << 10

// walker follows the chain line by line.
type walker struct {
	link
	key    *secret.Key       // of line seq; nil: MACs are not checked
	public ed25519.PublicKey // nil: signatures are not checked
}

// step checks that l is the next line. Only then does it go on to the one
// after.
func (w *walker) step(l *Line) error {
	switch {
	case l.Seq != w.seq:
		return fmt.Errorf("it is line %d where line %d belongs: %w", l.Seq, w.seq, efs.ErrDamaged)
	case l.Prev != encoding.EncodeToString(w.prev[:]):
		return fmt.Errorf("it does not follow the line before it, or that one was changed: %w", efs.ErrDamaged)
	}
	if l.Signed() && w.public != nil {
		if err := l.checkSignature(w.public); err != nil {
			return err
		}
	}
	if w.key != nil {
		fits := false
		err := w.key.Update(func(k []byte) {
			mac := kdf.MAC(k, l.body, nil)
			if fits = subtle.ConstantTimeCompare([]byte(encoding.EncodeToString(mac[:])), []byte(l.MAC)) == 1; fits {
				next(k)
			}
		})
		if err != nil {
			return fmt.Errorf("the key of the audit log: %w", err)
		}
		if !fits {
			return fmt.Errorf("its MAC is wrong: the line was changed or written by somebody else: %w", efs.ErrDamaged)
		}
	}
	w.prev = sha256.Sum256(l.raw)
	w.seq++
	return nil
}

// badLine is an error at a place of a file.
type badLine struct {
	line int64 // of the file, from 1, as editors count
	off  int64 // where it begins, bytes
	err  error
}

func (e *badLine) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *badLine) Unwrap() error { return e.err }

// lines calls fn for each line of r, which is counted from byte off and line n
// of its file on. A badLine says where it ended early.
func lines(r io.Reader, off, n int64, fn func(l *Line, off int64) error) error {
	in := bufio.NewReaderSize(r, maxLine)
	for ; ; n++ {
		raw, err := in.ReadSlice('\n')
		if err == io.EOF && len(raw) == 0 {
			return nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			err = fmt.Errorf("it is longer than any line can be: %w", efs.ErrDamaged)
		case err == io.EOF:
			err = fmt.Errorf("it has no end: %w", efs.ErrDamaged)
		case err != nil:
			return fmt.Errorf("reading the audit log: %w", err)
		}
		var l *Line
		if err == nil {
			l, err = parse(bytes.Clone(raw))
		}
		if err == nil {
			err = fn(l, off)
		}
		if err != nil {
			return &badLine{n, off, err}
		}
		off += int64(len(raw))
	}
}
