package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/efs-project/efs/internal/atomicfile"
)

// history is a file with the commands of earlier sessions, one a line. There
// is none unless it is asked for: commands name what is stored.
type history struct {
	file  *os.File
	lines []string // of earlier sessions
}

// Bounds of a history: how many lines are remembered, and from how many bytes
// on the file is cut to them.
const (
	maxHistory     = 500
	maxHistoryFile = 256 << 10
)

// openHistory reads the history at path and makes it if need be, readable by
// its owner alone.
func openHistory(path string) (*history, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the history: %w", err)
	}
	h, err := readHistory(f, path)
	if err != nil {
		_ = f.Close() // what failed is told
		return nil, fmt.Errorf("reading the history %s: %w", path, err)
	}
	return h, nil
}

func readHistory(f *os.File, path string) (*history, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no regular file")
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	h := &history{file: f}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			h.lines = append(h.lines, line)
		}
	}
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	if len(b) <= maxHistoryFile {
		return h, nil
	}
	if err := atomicfile.Write(path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	again, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	_ = f.Close() // what it held is written
	h.file = again
	return h, nil
}

// remember adds a command.
func (h *history) remember(line string) error {
	if h == nil {
		return nil
	}
	if _, err := h.file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("keeping the history: %w", err)
	}
	return nil
}

func (h *history) close() {
	if h != nil {
		_ = h.file.Close() // each line was written when it was typed
	}
}
