package admin

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// Keys, shares and passphrases do not travel in requests and answers: whatever
// reads and writes those keeps buffers of its own, where they would stay. They
// are handed over on a socket beside it, read and written in one piece, and
// requests and events refer to them by a number:
//
//	put:  'P' ‖ length (uint16, big-endian) ‖ bytes  →  number (16 bytes)
//	get:  'G' ‖ number  →  length ‖ bytes; then 'A' says that they have arrived
//
// A number serves once, and for a short time.
type handover struct {
	path string
	l    net.Listener
	work sync.WaitGroup

	mu   sync.Mutex
	held map[number]*held
}

type number [16]byte

type held struct {
	bytes   []byte
	arrived chan struct{} // closed by the one who fetched it; nil: handed to us
}

const (
	maxHandover  = 4096             // bytes
	handoverLife = 30 * time.Second // of what nobody takes
	handoverTime = 10 * time.Second // of a connection
)

func newHandover(root string) (*handover, error) {
	path := filepath.Join(root, secretSocketName)
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	return &handover{path: path, l: l, held: map[number]*held{}}, nil
}

// serve answers until close.
func (h *handover) serve() {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.work.Go(func() {
			defer c.Close()
			if c.SetDeadline(time.Now().Add(handoverTime)) == nil {
				_ = h.answer(c) // who did not get an answer knows it
			}
		})
	}
}

func (h *handover) close() {
	_ = h.l.Close()
	h.work.Wait()
	h.mu.Lock()
	for n := range h.held {
		h.dropLocked(n)
	}
	h.mu.Unlock()
	_ = os.Remove(h.path) // the next server does it otherwise
}

func (h *handover) answer(c net.Conn) error {
	var what [1]byte
	if _, err := io.ReadFull(c, what[:]); err != nil {
		return err
	}
	switch what[0] {
	case 'P':
		b, err := readSized(c)
		if err != nil {
			return err
		}
		n := h.hold(&held{bytes: b})
		_, err = c.Write(n[:])
		return err
	case 'G':
		var n number
		if _, err := io.ReadFull(c, n[:]); err != nil {
			return err
		}
		return h.deliver(c, n)
	}
	return errors.New("neither put nor get")
}

func (h *handover) deliver(c net.Conn, n number) error {
	h.mu.Lock()
	s := h.held[n]
	delete(h.held, n)
	h.mu.Unlock()
	if s == nil {
		return efs.ErrNotFound
	}
	defer clear(s.bytes)
	if s.arrived == nil { // handed to us, and asked for by who guessed or saw its number
		return efs.ErrNotFound
	}
	if err := writeSized(c, s.bytes); err != nil {
		return err
	}
	var ack [1]byte
	if _, err := io.ReadFull(c, ack[:]); err != nil || ack[0] != 'A' {
		return errors.New("not acknowledged")
	}
	close(s.arrived)
	return nil
}

// hold keeps a secret under a new number for a while.
func (h *handover) hold(s *held) number {
	var n number
	_, _ = rand.Read(n[:])
	h.mu.Lock()
	h.held[n] = s
	h.mu.Unlock()
	time.AfterFunc(handoverLife, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dropLocked(n)
	})
	return n
}

func (h *handover) dropLocked(n number) {
	if s := h.held[n]; s != nil {
		clear(s.bytes)
		delete(h.held, n)
	}
}

// take returns what was handed over under a number; the caller wipes it.
// efs.ErrBadInput.
func (h *handover) take(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) == len(number{}) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s := h.held[number(b)]; s != nil && s.arrived == nil {
			delete(h.held, number(b))
			return s.bytes, nil
		}
	}
	return nil, fmt.Errorf("%w: nothing was handed over under this number, or too long ago", efs.ErrBadInput)
}

// show has the caller fetch each line, and returns when it has arrived.
func (h *handover) show(ctx context.Context, out *stream, lines [][]byte) error {
	for _, line := range lines {
		s := &held{bytes: append(make([]byte, 0, len(line)), line...), arrived: make(chan struct{})}
		n := h.hold(s)
		text := hex.EncodeToString(n[:])
		if err := out.send(Event{Secret: &text}); err != nil {
			return err
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(handoverLife):
			return errors.New("nobody fetched it")
		}
	}
	return nil
}

// handOver gives a secret to the server on root and returns its number.
func handOver(ctx context.Context, root string, b []byte) (string, error) {
	c, err := dialSecret(ctx, root)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if len(b) > maxHandover {
		return "", fmt.Errorf("%w: %d bytes are too long for a key or passphrase", efs.ErrBadInput, len(b))
	}
	var n number
	_, err = c.Write([]byte{'P'})
	if err == nil {
		err = writeSized(c, b)
	}
	if err == nil {
		_, err = io.ReadFull(c, n[:])
	}
	if err != nil {
		return "", fmt.Errorf("handing a secret to the server: %w", err)
	}
	return hex.EncodeToString(n[:]), nil
}

// fetch gets what the server on root holds under a number.
func fetch(ctx context.Context, root, text string) ([]byte, error) {
	n, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	c, err := dialSecret(ctx, root)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Write(append([]byte{'G'}, n...)); err != nil {
		return nil, err
	}
	b, err := readSized(c)
	if err != nil {
		return nil, err
	}
	_, err = c.Write([]byte{'A'})
	return b, err
}

func dialSecret(ctx context.Context, root string) (net.Conn, error) {
	c, err := dial(ctx, filepath.Join(root, secretSocketName))
	if err == nil {
		err = c.SetDeadline(time.Now().Add(handoverTime))
	}
	return c, err
}

// writeSized writes length and bytes, in one call each: nothing copies them.
func writeSized(c net.Conn, b []byte) error {
	var size [2]byte
	binary.BigEndian.PutUint16(size[:], uint16(len(b)))
	if _, err := c.Write(size[:]); err != nil || len(b) == 0 { // whoever has read that there are none may be gone already
		return err
	}
	_, err := c.Write(b)
	return err
}

func readSized(c net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxHandover {
		return nil, fmt.Errorf("%w: a secret of %d bytes", efs.ErrBadInput, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		clear(b)
		return nil, err
	}
	return b, nil
}
