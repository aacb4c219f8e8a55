package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// conn is one HTTP/1.1 connection of a client that costs little, as it shares
// the processors with the server.
type conn struct {
	tls  *tls.Conn
	r    *bufio.Reader
	head string // what every request carries, with the line that ends the head
	out  []byte
	in   []byte
}

func dial(addr string, cfg *tls.Config, head string) (*conn, error) {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	return &conn{tls: c, r: bufio.NewReaderSize(c, 64<<10), head: head}, nil
}

func (c *conn) close() { c.tls.Close() }

// do sends a request and returns status and body of the answer; the body is
// valid until the next call. target is written as it is.
func (c *conn) do(method, target string, body []byte) (status int, answer []byte, err error) {
	b := append(c.out[:0], method...)
	b = append(append(b, ' '), target...)
	b = append(b, " HTTP/1.1\r\n"...)
	if body != nil {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(append(b, c.head...), body...)
	c.out = b
	if _, err := c.tls.Write(b); err != nil {
		return 0, nil, err
	}
	line, err := c.line()
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 || line[:9] != "HTTP/1.1 " {
		return 0, nil, fmt.Errorf("not an answer: %q", line)
	}
	if status, err = strconv.Atoi(line[9:12]); err != nil {
		return 0, nil, fmt.Errorf("not an answer: %q", line)
	}
	length := 0
	for {
		if line, err = c.line(); err != nil {
			return 0, nil, err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(value); err != nil {
				return 0, nil, fmt.Errorf("malformed length %q", value)
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			return 0, nil, errors.New("an answer without a length")
		}
	}
	if method == "HEAD" {
		length = 0
	}
	if cap(c.in) < length {
		c.in = make([]byte, length)
	}
	c.in = c.in[:length]
	_, err = io.ReadFull(c.r, c.in)
	return status, c.in, err
}

// expect is do for an answer that must have one status.
func (c *conn) expect(want int, method, target string, body []byte) ([]byte, error) {
	status, answer, err := c.do(method, target, body)
	if err == nil && status != want {
		err = fmt.Errorf("status %d: %s", status, answer[:min(len(answer), 512)])
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	return answer, nil
}

func (c *conn) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
