package dir

import "sync"

// shared lets one sync serve all who wait for it: whoever asks while one runs
// joins the next, which begins after all that they have done.
type shared struct {
	sync func() error

	running sync.Mutex // held by the round under way
	mu      sync.Mutex // guards next
	next    *round
}

type round struct {
	done chan struct{}
	err  error
}

// wait returns when a sync that began after the call has ended, with its
// result.
func (s *shared) wait() error {
	s.mu.Lock()
	r := s.next
	if r != nil {
		s.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	s.next = r
	s.mu.Unlock()

	s.running.Lock()
	s.mu.Lock()
	s.next = nil // who asks from here on must wait for another
	s.mu.Unlock()
	r.err = s.sync()
	s.running.Unlock()
	close(r.done)
	return r.err
}
