package plain

import (
	"errors"
	"fmt"
	"testing"

	"github.com/efs-project/efs"
)

func TestErrorLeavesOutTheKindWhereMoreIsSaid(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{efs.ErrBadInput, "malformed input"},
		{fmt.Errorf("name %q: 2 to 63 letters: %w", "X", efs.ErrBadInput), `name "X": 2 to 63 letters`},
		{fmt.Errorf("key from a file: %w: it is empty", efs.ErrBadInput), "key from a file: it is empty"},
		{fmt.Errorf("%w: it is empty", efs.ErrBadInput), "it is empty"},
		{fmt.Errorf("another server runs: stop it: %w", efs.ErrUnavailable), "another server runs: stop it"},
		{fmt.Errorf("user %q in %s: %w", "a", "fs", efs.ErrExists), `user "a" in fs: already exists`},
		{fmt.Errorf("root r: %w: the key does not fit", efs.ErrWrongKey), "root r: the key does not fit"},
		{fmt.Errorf("the server is sealed: open it: %w", efs.ErrSealed), "the server is sealed: open it"},
		{errors.New("a malformed input: b"), "a malformed input: b"},
	} {
		if got := Error(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
