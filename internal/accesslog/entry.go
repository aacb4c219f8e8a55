// Package accesslog writes the line of each request: in the formats of
// log/slog, made without its generality, and collected, so that a busy server
// does not spend a tenth of its time on them.
package accesslog

import (
	"context"
	"log/slog"
	"strconv"
	"time"
)

// Entry is what a line says. No path, name, query, header or credential is in
// it. Strings may be empty; empty ones at the end are left out.
type Entry struct {
	Time   time.Time
	Level  slog.Level // slog.LevelInfo or slog.LevelDebug
	ID     string     // of the request
	Route  string
	Method string
	Status int
	Took   time.Duration
	In     int64  // bytes of the request's body
	Out    int64  // bytes of the answer's body
	From   string // address
	FS     string
	User   string
	Object string // file id
	// Problem is the name of the problem document that was answered.
	Problem string
	Trace   string // id of the trace, if it is kept
}

// Logger takes entries.
type Logger interface {
	Enabled(slog.Level) bool
	Log(Entry)
}

// field is a string of an entry.
type field struct{ key, value string }

// strings returns the strings before and after the numbers, those at the end
// that are empty left out.
func (e *Entry) strings() (before [3]field, after []field) {
	before = [3]field{{"id", e.ID}, {"route", e.Route}, {"method", e.Method}}
	all := [...]field{{"from", e.From}, {"fs", e.FS}, {"user", e.User}, {"object", e.Object}, {"problem", e.Problem}, {"trace", e.Trace}}
	n := len(all)
	for n > 0 && all[n-1].value == "" {
		n--
	}
	return before, all[:n]
}

// appendText appends the line as slog.TextHandler writes it.
func (e *Entry) appendText(b []byte) []byte {
	before, after := e.strings()
	b = append(b, "time="...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, " level="...)
	b = append(b, e.Level.String()...)
	b = append(b, " msg=request"...)
	for _, f := range before {
		b = f.appendText(b)
	}
	b = append(b, " status="...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, " took="...)
	b = append(b, e.Took.String()...)
	b = append(b, " in="...)
	b = strconv.AppendInt(b, e.In, 10)
	b = append(b, " out="...)
	b = strconv.AppendInt(b, e.Out, 10)
	for _, f := range after {
		b = f.appendText(b)
	}
	return append(b, '\n')
}

func (f field) appendText(b []byte) []byte {
	b = append(b, ' ')
	b = append(b, f.key...)
	b = append(b, '=')
	if f.value == "" || !plain(f.value, true) {
		return strconv.AppendQuote(b, f.value)
	}
	return append(b, f.value...)
}

// appendJSON appends the line as slog.JSONHandler writes it.
func (e *Entry) appendJSON(b []byte) []byte {
	before, after := e.strings()
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, e.Level.String()...)
	b = append(b, `","msg":"request"`...)
	for _, f := range before {
		b = f.appendJSON(b)
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, `,"took":`...)
	b = strconv.AppendInt(b, int64(e.Took), 10)
	b = append(b, `,"in":`...)
	b = strconv.AppendInt(b, e.In, 10)
	b = append(b, `,"out":`...)
	b = strconv.AppendInt(b, e.Out, 10)
	for _, f := range after {
		b = f.appendJSON(b)
	}
	return append(b, '}', '\n')
}

// appendJSON replaces what JSON would have to escape: ids, names and addresses
// have none of it.
func (f field) appendJSON(b []byte) []byte {
	b = append(b, `,"`...)
	b = append(b, f.key...)
	b = append(b, `":"`...)
	if plain(f.value, false) {
		b = append(b, f.value...)
	} else {
		for i := 0; i < len(f.value); i++ {
			c := f.value[i]
			if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
				c = '?'
			}
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// plain reports whether a value needs no quotes in text, or no escapes in
// JSON.
func plain(s string, text bool) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' || text && (c == ' ' || c == '=') {
			return false
		}
	}
	return true
}

// To returns a Logger whose entries become records of l.
func To(l *slog.Logger) Logger { return toSlog{l} }

type toSlog struct{ l *slog.Logger }

func (t toSlog) Enabled(level slog.Level) bool { return t.l.Enabled(context.Background(), level) }

func (t toSlog) Log(e Entry) {
	before, after := e.strings()
	attrs := make([]slog.Attr, 0, 13)
	for _, f := range before {
		attrs = append(attrs, slog.String(f.key, f.value))
	}
	attrs = append(attrs, slog.Int("status", e.Status), slog.Duration("took", e.Took), slog.Int64("in", e.In), slog.Int64("out", e.Out))
	for _, f := range after {
		attrs = append(attrs, slog.String(f.key, f.value))
	}
	t.l.LogAttrs(context.Background(), e.Level, "request", attrs...)
}
