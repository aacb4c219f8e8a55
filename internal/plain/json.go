package plain

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// JSON writes v as a line of JSON, with indent in lines that are indented by
// it. Characters that a terminal would obey, or that would turn the direction of
// a text, are written as escapes (\u009b): who reads it gets them as they are,
// who sees it is not deceived.
func JSON(w io.Writer, v any, indent string) error {
	var b []byte
	var err error
	if indent == "" {
		b, err = json.Marshal(v)
	} else {
		b, err = json.MarshalIndent(v, "", indent)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(b), '\n'))
	return err
}

// escapeJSON escapes in JSON what encoding/json leaves as it is. Beyond ASCII
// there is nothing outside of strings.
func escapeJSON(b []byte) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(b); {
		if b[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if deceives(r) {
			out = fmt.Appendf(append(out, b[done:i]...), `\u%04x`, r)
			done = i + n
		}
		i += n
	}
	if done == 0 {
		return b
	}
	return append(out, b[done:]...)
}
