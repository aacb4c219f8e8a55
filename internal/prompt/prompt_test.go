package prompt

import (
	"context"
	"errors"
	"testing"
)

// A read that goes on does not hold up a program that was told to end.
func TestRead(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	if got, err := Read(ctx, func() (string, error) { return "answer", nil }, nil); got != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	failed := errors.New("failed")
	if _, err := Read(ctx, func() (string, error) { return "", failed }, nil); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	blocked, abandoned := make(chan struct{}), false
	defer close(blocked)
	cancel()
	_, err := Read(ctx, func() (string, error) { <-blocked; return "", nil }, func() { abandoned = true })
	if !errors.Is(err, context.Canceled) || !abandoned {
		t.Errorf("%v, abandoned %v", err, abandoned)
	}
}
