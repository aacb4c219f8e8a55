package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
)

// Loss is something that a damaged archive does not hold any more: parts of a
// member's contents, or members whose names are lost with them.
type Loss struct {
	Member string  `json:"member,omitempty"` // whose contents are lost, in part or all
	Ranges []Range `json:"ranges,omitempty"` // of its contents
	Size   int64   `json:"size,omitempty"`   // of its contents

	After   string `json:"after,omitempty"`  // the member before those that are lost; "" at the beginning
	Before  string `json:"before,omitempty"` // the one behind them; "" at the end
	Members int64  `json:"members"`          // how many are lost; -1: not known
}

// String tells it to people.
func (l Loss) String() string {
	if l.Member != "" {
		var parts []string
		for _, r := range l.Ranges {
			parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To-1))
		}
		return fmt.Sprintf("%s: bytes %s of %d are lost", l.Member, strings.Join(parts, ", "), l.Size)
	}
	what := fmt.Sprintf("%d members are lost", l.Members)
	switch l.Members {
	case 1:
		what = "a member is lost"
	case -1:
		what = "members may be lost, nobody knows how many"
	}
	switch {
	case l.After == "" && l.Before == "":
		return "everything: " + what
	case l.After == "":
		return "before " + l.Before + ": " + what
	case l.Before == "":
		return "after " + l.After + ": " + what
	}
	return "between " + l.After + " and " + l.Before + ": " + what
}

// Losses returns what is lost, up to where the reading has come; all of it
// after io.EOF. Without KeepGoing it is empty.
func (r *Reader) Losses() []Loss { return r.losses }

// lostIn notes what of a member's contents is lost.
func (r *Reader) lostIn(m *Member) {
	from := r.src.offset()
	to := from + m.Size
	note := func(a, b int64) {
		if a, b = max(a, from), min(b, to); a < b {
			m.Lost = append(m.Lost, Range{a - from, b - from})
		}
	}
	for _, g := range r.src.lost() {
		end := g.Offset + g.Length
		if g.Exact {
			note(g.Offset, end)
		} else if g.Length > 0 && g.Offset < to && end > from {
			// What of it lies behind the gap, and where, cannot be told.
			note(g.Offset, to)
			r.blank, r.end, r.astray = to-max(g.Offset, from), end, true
			break
		}
	}
	if size := r.src.size(); !r.astray && size >= 0 && size < to {
		note(size, to) // the end of the archive is lost
		r.blank = to - max(size, from)
	}
	if len(m.Lost) > 0 {
		r.losses = append(r.losses, Loss{Member: m.Name, Ranges: m.Lost, Size: m.Size})
	}
}

// rescan looks for the next member from off on, behind a header that is lost.
// What tells it from contents that look like one is its place, which names this
// archive and where in it the header lies.
func (r *Reader) rescan(off int64) (*tar.Header, error) {
	b := r.src.(*blocks) // only what is at hand is read on
	lost := Loss{After: r.last, Members: -1}
	for at := padded(off); ; at += block {
		h, err := candidate(b, &at)
		if err == io.EOF {
			r.losses = append(r.losses, lost)
			return nil, io.EOF
		}
		records, err := recordsOf(h)
		p, ok := parsePlace(records[recPlace])
		if err != nil || !ok || r.info.mark != "" && p.mark != r.info.mark || p.offset != at && !shifted(b, at) {
			continue
		}
		r.info.mark = p.mark
		if p.number != r.count {
			lost.Before, lost.Members = strings.TrimSuffix(h.Name, "/"), p.number-r.count
			r.losses = append(r.losses, lost)
		}
		r.count = p.number
		return h, nil
	}
}

// candidate returns the next header at or behind at, with PAX records, and
// where it lies. io.EOF: there is none.
func candidate(b *blocks, at *int64) (*tar.Header, error) {
	var first [block]byte
	for ; *at < b.length; *at += block {
		if lost, until := b.gapAt(*at); lost {
			*at = padded(until) - block
			continue
		}
		b.pos = *at
		if _, err := io.ReadFull(b, first[:]); err != nil || first[156] != tar.TypeXHeader || string(first[257:262]) != "ustar" {
			continue
		}
		b.pos = *at
		if h, err := tar.NewReader(&blockReader{Reader: b}).Next(); err == nil {
			return h, nil
		}
	}
	return nil, io.EOF
}

// shifted reports whether a gap before at has a length that is not known, so
// that offsets are not those in the archive any more.
func shifted(b *blocks, at int64) bool {
	for _, g := range b.gaps {
		if g.Offset < at && !g.Exact && g.Length > 0 {
			return true
		}
	}
	return false
}
