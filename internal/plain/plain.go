// Package plain writes errors for people.
package plain

import (
	"strings"

	"github.com/efs-project/efs"
)

// kinds are for programs; the texts that wrap them say the same in more words.
var kinds = []error{efs.ErrBadInput, efs.ErrUnavailable, efs.ErrRefused}

// Error is the text of err without the kind of failure that stands before or
// after a text which tells more.
func Error(err error) string {
	text := err.Error()
	for _, kind := range kinds {
		text = strings.TrimSuffix(text, ": "+kind.Error())
	}
	bad := efs.ErrBadInput.Error() + ": "
	before, after, found := strings.Cut(text, bad)
	if !found || before != "" && !strings.HasSuffix(before, ": ") {
		return text
	}
	return before + after
}
