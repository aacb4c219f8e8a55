package secret

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/awnumar/memguard"
)

// heap is where all keys of the process lie. memguard gives each of its
// buffers three pages, one of them locked, and on a failure of mlock destroys
// every buffer there is and panics. So keys share pages, taken one at a time,
// and a page is tried before memguard is asked for it.
var heap = &keyHeap{}

type keyHeap struct {
	mu    sync.RWMutex // held for reading while keys are used
	pages []*page
}

// page is one locked page between two guard pages, cut into slots. The end of
// its last slot touches the guard page behind; what is left in front holds
// memguard's canary.
type page struct {
	buf  *memguard.LockedBuffer
	free []int // slots not in use
}

type slot struct {
	page  *page // nil: destroyed
	index int
}

// slotsPerPage leaves room for a canary of one slot's length.
func slotsPerPage() int { return os.Getpagesize()/Size - 1 }

// take gives out a free slot.
func (h *keyHeap) take() (*slot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.roomy()
	if err != nil {
		return nil, err
	}
	i := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return &slot{p, i}, nil
}

// roomy returns a page with a free slot.
func (h *keyHeap) roomy() (*page, error) {
	for _, p := range h.pages {
		if len(p.free) > 0 {
			return p, nil
		}
	}
	p, err := newPage()
	if err != nil {
		return nil, err
	}
	h.pages = append(h.pages, p)
	return p, nil
}

func newPage() (p *page, err error) {
	if err := tryLock(os.Getpagesize()); err != nil {
		return nil, lockError(err)
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, lockError(errors.New("the memory guard failed"))
		}
	}()
	n := slotsPerPage()
	p = &page{buf: memguard.NewBuffer(n * Size)}
	for i := range n {
		p.free = append(p.free, i)
	}
	return p, nil
}

func lockError(err error) error {
	return fmt.Errorf("cannot lock memory for keys (%w): allow this process at least 64 KiB of locked memory: "+
		"`ulimit -l 64`, LimitMEMLOCK=64K in a systemd unit, or `docker run --ulimit memlock=65536:65536`", err)
}

// with calls f with the slot's bytes. Pages are not given back and slots not
// freed meanwhile.
func (s *slot) with(f func([]byte)) error {
	heap.mu.RLock()
	defer heap.mu.RUnlock()
	if s.page == nil || !s.page.buf.IsAlive() {
		return ErrDestroyed
	}
	f(s.bytes())
	return nil
}

func (s *slot) bytes() []byte {
	return s.page.buf.Bytes()[s.index*Size : (s.index+1)*Size : (s.index+1)*Size]
}

// free wipes the slot and gives it back.
func (s *slot) free() {
	heap.mu.Lock()
	defer heap.mu.Unlock()
	if s.page == nil {
		return
	}
	if s.page.buf.IsAlive() {
		Wipe(s.bytes())
		s.page.free = append(s.page.free, s.index)
	}
	s.page = nil
}

// Purge wipes and frees every key of the process, once their users are done
// with the bytes in hand. Keys made before are destroyed; new ones can be
// made. Called last before the process ends.
func Purge() {
	heap.mu.Lock()
	defer heap.mu.Unlock()
	heap.pages = nil
	memguard.Purge()
}
