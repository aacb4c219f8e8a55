package dir

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSharedSyncs: who asks while a sync runs is served by the next one, which
// serves all who wait.
func TestSharedSyncs(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	syncs := 0 // by one goroutine at a time
	s := shared{sync: func() error {
		if syncs++; syncs > 1 {
			return unix.EIO
		}
		close(begun)
		<-end
		return nil
	}}
	var first error
	var rest [20]error
	var wg sync.WaitGroup
	wg.Go(func() { first = s.wait() })
	<-begun
	for i := range rest {
		wg.Go(func() { rest[i] = s.wait() })
	}
	time.Sleep(50 * time.Millisecond) // lets most of them ask
	close(end)
	wg.Wait()
	if first != nil {
		t.Errorf("the sync under way gives %v", first)
	}
	for i, err := range rest {
		if !errors.Is(err, unix.EIO) {
			t.Errorf("result %d is of a sync that began before it was asked for: %v", i, err)
		}
	}
	if syncs > 1+len(rest)/2 {
		t.Errorf("%d syncs for %d who wait", syncs-1, len(rest))
	}
}
