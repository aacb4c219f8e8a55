package http1

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// body reads what follows a head, to its end and not further. It is the Body
// of requests that have one, and safe to call when the handler has returned.
type body struct {
	mu      sync.Mutex
	k       *conn
	chunked bool
	expect  bool  // the client waits for 100 Continue
	left    int64 // bytes of the body, or of the present chunk
	within  bool  // a chunk has begun, and its end has not been read
	done    bool  // all of it was read
	over    bool  // the handler has returned, or closed it
	err     error // why it cannot be read further
}

// Read returns the next piece. The last one comes with io.EOF where the length
// is known.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.done:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if b.expect {
		b.expect = false
		if err := b.k.answer.sendContinue(); err != nil {
			b.err = err
			return 0, err
		}
	}
	if b.chunked {
		n, err = b.readChunk(p)
	} else if n, err = b.readPlain(p); b.left == 0 && err == nil {
		b.done, err = true, io.EOF
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// readPlain reads from what is left of the body or the chunk.
func (b *body) readPlain(p []byte) (n int, err error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	k := b.k
	if k.r < k.w {
		n = copy(p, k.buf[k.r:k.w])
		k.r += n
	} else {
		n, err = k.tls.Read(p)
		if n > 0 {
			err = nil // it will be met again
		} else if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	b.left -= int64(n)
	return n, err
}

var (
	errChunk   = errors.New("malformed chunk")
	errTrailer = errors.New("malformed or too many trailers")
)

// A line of a chunked body is at most maxLine bytes, a trailer section at most
// maxTrailers lines. Nobody here has a use for either.
const (
	maxLine     = 1 << 10
	maxTrailers = 32
)

// readChunk reads on in a chunked body (RFC 9112, 7.1).
func (b *body) readChunk(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.nextChunk(); err != nil || b.done {
			return 0, errorOrEOF(err)
		}
	}
	return b.readPlain(p)
}

func errorOrEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// nextChunk reads up to the data of the next chunk, or to the end of the body.
func (b *body) nextChunk() error {
	if b.within {
		if line, err := b.line(); err != nil || line != "" {
			return orChunk(err)
		}
		b.within = false
	}
	line, err := b.line()
	if err != nil {
		return err
	}
	n, ok := parseChunkSize(line)
	if !ok {
		return errChunk
	}
	if n > 0 {
		b.left, b.within = n, true
		return nil
	}
	for range maxTrailers {
		line, err := b.line()
		if err != nil {
			return err
		}
		if line == "" {
			b.done = true
			return nil
		}
		if _, _, err := parseField(line); err != nil {
			return errTrailer
		}
	}
	return errTrailer
}

func orChunk(err error) error {
	if err == nil {
		return errChunk
	}
	return err
}

// parseChunkSize reads a size in hex and skips extensions.
func parseChunkSize(line string) (n int64, ok bool) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case isDigit(c):
			n = n<<4 | int64(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		case c == ';' && i > 0:
			return n, true
		default:
			return 0, false
		}
		if i >= 15 {
			return 0, false // 60 bits are enough for a chunk
		}
		ok = true
	}
	return n, ok
}

// line reads a line that ends in CRLF and has no control characters.
func (b *body) line() (string, error) {
	k := b.k
	var text []byte
	for {
		for k.r < k.w {
			c := k.buf[k.r]
			k.r++
			if len(text) > 0 && text[len(text)-1] == '\r' {
				if c != '\n' {
					return "", errChunk
				}
				return string(text[:len(text)-1]), nil
			}
			if c < ' ' && c != '\t' && c != '\r' || c == 0x7f || len(text) >= maxLine {
				return "", errChunk
			}
			text = append(text, c)
		}
		k.r, k.w = 0, 0
		if err := k.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// Close ends the reading. What was not read is dealt with after the answer.
func (b *body) Close() error {
	b.end()
	return nil
}

// end makes Read fail from now on.
func (b *body) end() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
}

// whole reports whether all of the body was read, or there is none.
func (b *body) whole() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done
}

// drainLimit is how much of a body that nobody wants is read, to keep the
// connection.
const drainLimit = 256 << 10

// drain reads the rest of a body that the handler left, if it is short and
// already on its way, and reports whether the connection can go on.
func (b *body) drain() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return true
	}
	if b.expect || b.err != nil || b.left > drainLimit {
		return false
	}
	if by := time.Now().Add(b.k.s.HeaderTimeout); b.k.readBy.IsZero() || b.k.readBy.After(by) {
		if b.k.setReadDeadline(by) != nil {
			return false
		}
	}
	var sink [4 << 10]byte
	for n := 0; n <= drainLimit && !b.done; {
		m, err := b.read(sink[:])
		if n += m; err != nil {
			break
		}
	}
	return b.done
}
