package server

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// appendStored writes the confirmation of a store by hand: it is the answer
// that is given most often.
func appendStored(b []byte, path string, e *efs.Entry) []byte {
	b = append(b, `{"path":`...)
	b = appendString(b, "/"+path)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, e.Size, 10)
	if e.DigestKind == efs.DigestFull {
		b = append(b, `,"sha256":"`...)
		b = hex.AppendEncode(b, e.Digest)
		b = append(b, '"')
	}
	b = append(b, `,"etag":`...)
	b = appendString(b, e.ETag)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, e.Version, 10)
	return append(b, '}', '\n')
}

// appendEntry writes an entry of a listing under its name: with what belongs to
// its contents, which are its digest, its target and its metadata, for those who
// may read them.
func appendEntry(b []byte, name string, e *efs.Entry, read bool) []byte {
	b = append(b, `{"name":`...)
	b = appendString(b, name)
	b = append(b, `,"kind":"`...)
	b = append(b, e.Kind.String()...)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, e.Size, 10)
	b = append(b, `,"modified":"`...)
	b = modified(e).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","etag":`...)
	b = appendString(b, e.ETag)
	if e.Kind == efs.KindFile {
		b = append(b, `,"type":`...)
		b = appendString(b, typeOf(e))
	}
	b = append(b, `,"created":"`...)
	b = time.UnixMicro(e.Created).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	if e.Mode != 0 {
		b = append(b, `,"mode":"`...)
		b = appendMode(b, e.Mode)
		b = append(b, '"')
	}
	if read {
		b = appendContents(b, e)
	}
	return append(b, '}')
}

// appendContents writes what an entry tells of its contents.
func appendContents(b []byte, e *efs.Entry) []byte {
	if e.DigestKind == efs.DigestFull {
		b = append(b, `,"sha256":"`...)
		b = hex.AppendEncode(b, e.Digest)
		b = append(b, '"')
	}
	if e.Kind == efs.KindSymlink {
		b = append(b, `,"target":`...)
		b = appendString(b, e.Target)
	}
	if len(e.Meta) > 0 {
		meta, err := json.Marshal(e.Meta)
		if err != nil {
			panic("server: JSON of metadata: " + err.Error()) // strings cannot fail
		}
		b = append(append(b, `,"meta":`...), meta...)
	}
	return b
}

// appendString writes a JSON string. Names are mostly plain; the others are
// left to encoding/json.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			q, err := json.Marshal(s)
			if err != nil {
				panic("server: JSON string: " + err.Error()) // strings cannot fail
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// sendJSON sends a prepared body as the whole answer.
func (x *exchange) sendJSON(status int, body []byte) error {
	h := x.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = cacheControl
	x.set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(status)
	_, err := x.Write(body)
	return err
}

// sendValue sends v as JSON.
func (x *exchange) sendValue(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return x.sendJSON(status, append(body, '\n'))
}

// readJSON reads exactly one JSON value of known fields into v.
func (x *exchange) readJSON(v any, limit int64, types ...string) error {
	if err := x.wantType(types...); err != nil {
		return err
	}
	if declaredTooLarge(x.r, limit) {
		return bodyTooLarge.with("The body of this request must be at most " + strconv.FormatInt(limit, 10) + " bytes.")
	}
	in := x.newBody(limit)
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errTrailing
		}
	}
	switch {
	case in.err != nil:
		return in.err
	case err != nil:
		return badJSON.from(err, whatIsWrong(err)+"Send one JSON object with the fields that the documentation names, and nothing after it.")
	}
	return nil
}

// whatIsWrong tells, where that is known, the field or the value that made
// encoding/json refuse a body. It has no type for unknown fields. Nothing long is
// sent back.
func whatIsWrong(err error) string {
	const most = 300
	text := err.Error()
	switch name, unknown := strings.CutPrefix(text, "json: unknown field "); {
	case len(text) > most:
	case unknown:
		return "There is no field " + name + " here. "
	case errors.Is(err, efs.ErrBadInput): // a value's own UnmarshalJSON
		return "The " + strings.TrimSuffix(text, ": "+efs.ErrBadInput.Error()) + ". "
	}
	return ""
}

// wantType refuses a body of another type than the given ones.
func (x *exchange) wantType(types ...string) error {
	got, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	for _, t := range types {
		if err == nil && got == t {
			return nil
		}
	}
	if x.r.Method == http.MethodPatch {
		x.Header().Set("Accept-Patch", types[0])
	}
	return unsupportedMedia.with("Send the body as Content-Type: " + types[0] + ".")
}
