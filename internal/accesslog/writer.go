package accesslog

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// A line is written at the latest delay after its request, or when bufferSize
// bytes have come together.
const (
	delay      = 100 * time.Millisecond
	bufferSize = 32 << 10
)

// Writer collects the lines of requests. All else that is logged goes through
// Write, which first writes what was collected: lines stay in their order, and
// none but those of requests waits. A process that is killed loses the lines
// of its last tenth of a second, no others.
type Writer struct {
	level slog.Leveler
	json  bool

	mu    sync.Mutex
	w     io.Writer
	lines []byte
	timer *time.Timer // set while lines wait
}

// NewWriter returns a Writer to w that takes entries of level and above (which
// may change, as a slog.LevelVar does), as JSON or as text.
func NewWriter(w io.Writer, level slog.Leveler, json bool) *Writer {
	return &Writer{w: w, level: level, json: json, lines: make([]byte, 0, bufferSize)}
}

// Enabled reports whether entries of a level are written.
func (l *Writer) Enabled(level slog.Level) bool { return level >= l.level.Level() }

// Log takes an entry.
func (l *Writer) Log(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.json {
		l.lines = e.appendJSON(l.lines)
	} else {
		l.lines = e.appendText(l.lines)
	}
	switch {
	case len(l.lines) > bufferSize-1<<10:
		l.flush()
	case l.timer == nil:
		l.timer = time.AfterFunc(delay, l.Flush)
	}
}

// Write writes at once.
func (l *Writer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	return l.w.Write(p)
}

// Flush writes the lines that wait. The last thing a process does with its log
// must be this.
func (l *Writer) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

func (l *Writer) flush() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(l.lines) > 0 {
		_, _ = l.w.Write(l.lines) // where a log cannot be written there is nowhere to say so
		l.lines = l.lines[:0]
	}
}
