package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Check says what a log is verified against.
type Check struct {
	Dir    string
	Public ed25519.PublicKey // of the heads
	First  []byte            // key of line 1; nil: MACs are not checked. It is wiped
	Root   efs.ID            // of the server; zero: any, the same in all heads
	Heads  [][]byte          // heads that were kept elsewhere

	size func(path string) int64 // how much of a file counts; nil: all of it
}

// Report is what verifying a log found.
type Report struct {
	Files    int       `json:"files"`
	Lines    int64     `json:"lines"`
	First    uint64    `json:"first"`               // number of the first line
	Last     uint64    `json:"last"`                // and of the last
	Head     uint64    `json:"head"`                // line of the newest head that was verified; 0: there is none
	HeadTime time.Time `json:"head_time,omitzero"`  //
	HeadLine string    `json:"head_line,omitempty"` // it, to be kept elsewhere
	Beyond   uint64    `json:"beyond"`              // lines after it
	MACs     bool      `json:"macs"`                // whether MACs were checked
	Kept     int       `json:"kept"`                // heads kept elsewhere that the log agrees with
	Torn     []string  `json:"torn,omitempty"`      // what crashes left, in the log's own words
	Bad      *Bad      `json:"bad,omitempty"`       // the first thing that does not hold; nil: all does
}

// Bad is where a log was tampered with, or damaged.
type Bad struct {
	File string `json:"file"`
	Line int64  `json:"line"` // of the file, from 1; 0: the file as a whole
	Seq  uint64 `json:"seq"`  // number of the line that belongs there
	Why  string `json:"why"`
}

// Verify checks every line of the log in c.Dir. That the log is not what it
// should be is told in the report; an error means that it could not be read.
func Verify(c Check) (*Report, error) {
	v := &verifier{Check: c, walker: walker{public: c.Public}, kept: map[uint64][]*Line{}}
	if c.First != nil {
		key, err := secret.NewKey(c.First)
		if err != nil {
			return nil, err
		}
		defer key.Destroy()
		v.key = key
	}
	all, err := segments(c.Dir)
	if err != nil {
		return nil, err
	}
	v.report.MACs = c.First != nil
	for _, raw := range c.Heads {
		switch h, genuine := readHead(raw, c.Public); {
		case h == nil:
		case !genuine:
			v.foreign = append(v.foreign, h)
		case c.Root.IsZero() || h.Root == c.Root:
			v.kept[h.Seq] = append(v.kept[h.Seq], h)
		}
	}
	for _, s := range all {
		if err := v.file(s); err != nil || v.report.Bad != nil {
			return &v.report, err
		}
	}
	v.end(all)
	return &v.report, nil
}

type verifier struct {
	Check
	walker
	report  Report
	kept    map[uint64][]*Line // heads, by line
	foreign []*Line            // heads that another key signed, perhaps of other logs
	begin   *Line              // first line of the log, if it is not line 1
	cut     bool               // a signed line says that the log begins so
}

func (v *verifier) bad(path string, line int64, err error) {
	v.report.Bad = &Bad{File: filepath.Base(path), Line: line, Seq: v.seq, Why: err.Error()}
}

// file verifies one file.
func (v *verifier) file(s segment) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	var in io.Reader = f
	if v.size != nil {
		in = io.LimitReader(f, v.size(s.path))
	}
	if v.report.Files++; v.report.Files > 1 && s.first != v.seq {
		v.bad(s.path, 0, fmt.Errorf("the file before it ends with line %d", v.seq-1))
		return nil
	}
	n := int64(0)
	err = lines(in, 0, 1, func(l *Line, _ int64) error {
		n++
		return v.line(s, l)
	})
	var bad *badLine
	if errors.As(err, &bad) {
		v.bad(s.path, bad.line, bad.err)
		return nil
	}
	return err
}

func (v *verifier) line(s segment, l *Line) error {
	if v.seq == 0 {
		if err := v.start(s, l); err != nil {
			return err
		}
	}
	if err := v.step(l); err != nil {
		return err
	}
	v.report.Lines++
	v.report.Last = l.Seq
	if l.Op == "audit.head" || l.Op == "audit.damaged" || l.Op == "audit.torn" || l.Op == "audit.cut" {
		if !l.Signed() {
			return fmt.Errorf("it must be signed and is not: %w", efs.ErrDamaged)
		}
	}
	switch l.Op {
	case "audit.head":
		return v.head(l)
	case "audit.damaged":
		return fmt.Errorf("the server found here when it started: %s", l.Detail)
	case "audit.torn":
		v.report.Torn = append(v.report.Torn, l.Detail)
	case "audit.cut":
		if v.begin != nil && l.First == v.begin.Seq && l.Before == v.begin.Prev {
			v.cut = true
		}
	}
	return nil
}

// start goes to the first line that there is.
func (v *verifier) start(s segment, l *Line) error {
	if l.Seq != s.first || l.Seq == 0 {
		return fmt.Errorf("it is line %d in the file of line %d: %w", l.Seq, s.first, efs.ErrDamaged)
	}
	v.seq, v.report.First = l.Seq, l.Seq
	if l.Seq == 1 {
		return nil
	}
	prev, err := encoding.DecodeString(l.Prev)
	if err != nil || len(prev) != len(v.prev) {
		return fmt.Errorf("it has no hash of the line before it: %w", efs.ErrDamaged)
	}
	copy(v.prev[:], prev)
	v.begin = l
	if v.key != nil {
		return skip(v.key, l.Seq-1)
	}
	return nil
}

// head notes a head, and compares it with what was kept elsewhere of it.
func (v *verifier) head(l *Line) error {
	if v.Root.IsZero() {
		v.Root = l.Root
	}
	if l.Root != v.Root {
		return fmt.Errorf("it is the head of another server's log: %w", efs.ErrDamaged)
	}
	for _, h := range v.kept[l.Seq] {
		if !bytes.Equal(h.raw, l.raw) {
			return fmt.Errorf("the head kept elsewhere of this line is another one: %w", efs.ErrDamaged)
		}
		v.report.Kept++
	}
	delete(v.kept, l.Seq)
	v.report.Head, v.report.HeadTime, v.report.HeadLine = l.Seq, l.Time, string(l.raw[:len(l.raw)-1])
	return nil
}

// end judges what only shows when all lines have been seen.
func (v *verifier) end(all []segment) {
	v.report.Beyond = v.report.Last - v.report.Head
	last := "the log"
	if len(all) > 0 {
		last = all[len(all)-1].path
	}
	if v.begin != nil && !v.cut {
		v.bad(all[0].path, 1, fmt.Errorf("lines before %d are missing, and no signed line says that they were removed", v.begin.Seq))
		return
	}
	for _, h := range v.foreign {
		if h.Root == v.Root {
			v.bad(last, 0, fmt.Errorf("a head of line %d of this log was kept elsewhere that another key signed: the log was removed together with its keys, or this is not its public key", h.Seq))
			return
		}
	}
	for seq := range v.kept {
		if seq > v.report.Last {
			v.bad(last, 0, fmt.Errorf("the log ends with line %d, but a head of line %d was kept elsewhere: lines were cut off", v.report.Last, seq))
			return
		}
		if seq >= v.report.First {
			v.bad(last, 0, fmt.Errorf("line %d is not the head that was kept elsewhere of it", seq))
			return
		}
	}
}
