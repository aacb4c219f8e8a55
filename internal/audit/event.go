package audit

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// Ok is the outcome of what was done as asked. Every other outcome is the name
// of a problem (docs/errors.md) or of a kind of failure.
const Ok = "ok"

// Event is what a line says. Empty fields are left out. Text of any length
// and form is safe: it is bounded and escaped.
type Event struct {
	Time    time.Time // zero: now
	Op      string    // what was to be done, such as "file.store" or "admin.create-fs"
	User    string    // who: a user of FS, "uid:0" on the admin socket, "" the server itself or unknown
	FS      string    // name of the file system
	From    string    // address of the caller
	Method  string    // of a request
	Object  efs.ID    // file id
	Name    []byte    // sealed label of the path
	To      []byte    // sealed label of the path that something was moved or copied to
	Outcome string    // Ok, or why not; "": Ok
	Detail  string    // more, for people; never a path or a key
	Session string    // id of the session
	Request string    // id of the request
	FSID    efs.ID    // of the file system that Change is in; zero: no change
	Change  uint64    // number of the change in the file system's log that tells of this event too
	Late    bool      // written from that change at the next start, as the server had been killed in between
}

// The longest values that a line holds, bytes. What is longer is cut.
const (
	maxText   = 256
	maxDetail = 2048
	maxLabel  = 8192
)

// Labeler seals the paths of a file system for the log, and opens them.
type Labeler interface {
	// SealLabel seals a path so that forgetting what lies there reaches the
	// label too.
	SealLabel(ctx context.Context, path string) ([]byte, error)
	// OpenLabel returns the path; efs.ErrForgotten where its key is gone.
	OpenLabel(ctx context.Context, label []byte) (string, error)
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

// appendBody appends the members of an event, without the braces around them
// and without what the chain adds.
func (e *Event) appendBody(b []byte) []byte {
	b = append(b, `"time":"`...)
	b = appendTime(b, e.Time)
	b = append(b, `","op":`...)
	b = appendText(b, e.Op, maxText)
	b = appendMember(b, `,"user":`, e.User, maxText)
	b = appendMember(b, `,"fs":`, e.FS, maxText)
	b = appendMember(b, `,"from":`, e.From, maxText)
	b = appendMember(b, `,"method":`, e.Method, maxText)
	if !e.Object.IsZero() {
		b = append(b, `,"object":"`...)
		b = appendID(b, e.Object)
		b = append(b, '"')
	}
	b = appendLabel(b, `,"name":"`, e.Name)
	b = appendLabel(b, `,"to":"`, e.To)
	outcome := e.Outcome
	if outcome == "" {
		outcome = Ok
	}
	b = appendMember(b, `,"outcome":`, outcome, maxText)
	b = appendMember(b, `,"detail":`, e.Detail, maxDetail)
	b = appendMember(b, `,"session":`, e.Session, maxText)
	b = appendMember(b, `,"request":`, e.Request, maxText)
	if !e.FSID.IsZero() {
		b = append(appendID(append(b, changeMark...), e.FSID), `","change":`...)
		b = strconv.AppendUint(b, e.Change, 10)
	}
	if e.Late {
		b = append(b, `,"recovered":true`...)
	}
	return b
}

// changeMark is before the id of a file system in lines of changes. No value
// holds it: quotes are escaped in them.
const changeMark = `,"fs_id":"`

// appendTime writes a time in UTC to the microsecond, always with six digits.
// time.AppendFormat takes three times as long.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	b = append(b, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	b = appendTwo(b, int(month), '-')
	b = appendTwo(b, day, 'T')
	b = appendTwo(b, hour, ':')
	b = appendTwo(b, minute, ':')
	b = appendTwo(b, second, '.')
	micro := t.Nanosecond() / 1000
	for d := 100000; d > 0; d /= 10 {
		b = append(b, byte('0'+micro/d%10))
	}
	return append(b, 'Z')
}

func appendTwo(b []byte, n int, end byte) []byte {
	return append(b, byte('0'+n/10), byte('0'+n%10), end)
}

// appendID writes the form of efs.ID.String.
func appendID(b []byte, id efs.ID) []byte {
	b = hex.AppendEncode(b, id[:4])
	b = hex.AppendEncode(append(b, '-'), id[4:6])
	b = hex.AppendEncode(append(b, '-'), id[6:8])
	b = hex.AppendEncode(append(b, '-'), id[8:10])
	return hex.AppendEncode(append(b, '-'), id[10:])
}

func appendMember(b []byte, name, value string, limit int) []byte {
	if value == "" {
		return b
	}
	return appendText(append(b, name...), value, limit)
}

func appendLabel(b []byte, name string, label []byte) []byte {
	if len(label) == 0 || len(label) > maxLabel { // a longer one is none of ours
		return b
	}
	b = append(b, name...)
	b = base64.StdEncoding.AppendEncode(b, label)
	return append(b, '"')
}

// appendText writes a JSON string of printable ASCII alone: everything else is
// escaped, so that no value ends a line, a string, or moves a terminal's
// cursor.
func appendText(b []byte, s string, limit int) []byte {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		n := 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < utf8.RuneSelf:
			b = appendEscape(b, rune(c))
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			b = appendEscape(b, r)
		}
		i += n
		start = i
	}
	b = append(b, s[start:]...)
	if cut {
		b = append(b, "..."...)
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	if r > 0xffff { // a surrogate pair (RFC 8259, section 7)
		r -= 0x10000
		return fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
