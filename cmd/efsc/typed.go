package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// bytewise reads no further than it is asked to, so that two readers can take
// turns at one terminal.
type bytewise struct{ io.Reader }

func (b bytewise) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return b.Reader.Read(p[:1])
}

// typed reads contents that are typed or pasted at a terminal. The line editor
// is no use here: it would take tabs for completion. Nor is the terminal's own
// line mode: it cuts lines at 4,095 bytes.
type typed struct {
	in  *os.File
	out io.Writer
}

// The keys that mean something.
const (
	ctrlC     = 0x03
	ctrlD     = 0x04
	backspace = 0x08
	del       = 0x7f
)

// contents reads up to Ctrl-D; errInterrupted after Ctrl-C.
func (t typed) contents() (io.Reader, error) {
	var b strings.Builder
	for {
		l, err := t.line()
		b.WriteString(l)
		if errors.Is(err, io.EOF) {
			return strings.NewReader(b.String()), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// line reads one line with its newline; io.EOF with what came before Ctrl-D.
// Control characters have no place in a text and are passed over.
func (t typed) line() (string, error) {
	state, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(t.in.Fd()), state) }() // fails where the terminal is gone
	var line []byte
	key := make([]byte, 1)
	for {
		if _, err := io.ReadFull(t.in, key); err != nil {
			return string(line), io.EOF
		}
		switch c := key[0]; {
		case c == '\r' || c == '\n':
			t.echo("\r\n")
			return string(append(line, '\n')), nil
		case c == ctrlD:
			t.echo("\r\n")
			return string(line), io.EOF
		case c == ctrlC:
			t.echo("^C\r\n")
			return "", errInterrupted
		case c == backspace || c == del:
			if _, size := utf8.DecodeLastRune(line); size > 0 {
				line = line[:len(line)-size]
				t.echo("\b \b")
			}
		case c == '\t' || c >= ' ':
			line = append(line, c)
			t.echo(string(key))
		}
	}
}

func (t typed) echo(s string) { _, _ = io.WriteString(t.out, s) } // a terminal that is gone ends the reading
