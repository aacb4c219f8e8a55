// Package plain writes errors for people.
package plain

import (
	"strings"

	"github.com/efs-project/efs"
)

// kinds are for programs; the texts that wrap them say the same in more words.
var kinds = []error{efs.ErrBadInput, efs.ErrUnavailable, efs.ErrRefused, efs.ErrSealed, efs.ErrWrongKey}

// Error is the text of err without the kind of failure that stands before or
// after a text which tells more.
func Error(err error) string {
	text := err.Error()
	for _, kind := range kinds {
		text = strings.TrimSuffix(text, ": "+kind.Error())
	}
	for _, kind := range []error{efs.ErrBadInput, efs.ErrWrongKey} {
		before, after, found := strings.Cut(text, kind.Error()+": ")
		if found && (before == "" || strings.HasSuffix(before, ": ")) {
			text = before + after
		}
	}
	return text
}
