// Package progress shows how far a transfer has come.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/efs-project/efs/internal/plain"
)

// Bar is a bar with rate and time left, where somebody can see it; else it
// shows nothing but what must be said. Its methods may be called by several
// goroutines.
type Bar struct {
	mu  sync.Mutex
	out io.Writer
	bar *progressbar.ProgressBar // nil: none
}

// New shows a bar on out if that is a terminal and quiet is not asked for.
// total is in bytes; a negative one is not known. Finish ends it.
func New(out io.Writer, total int64, what string, quiet bool) *Bar {
	p := &Bar{out: out}
	f, ok := out.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), // else it is drawn at each per cent only, which of a large file takes minutes
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionFullWidth(),
		progressbar.OptionSetRenderBlankState(true),
	)
	return p
}

// Add tells of n more bytes that travelled; of fewer, where n is negative.
func (p *Bar) Add(n int64) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Add64(n) // it fails only at being drawn
}

// Say prints a line without spoiling the bar. Names in it cannot deceive a
// terminal.
func (p *Bar) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // as above
	}
	fmt.Fprintln(p.out, plain.Printable(p.out, fmt.Sprintf(format, args...)))
}

// Finish leaves the bar as it stands and ends its line.
func (p *Bar) Finish() {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Exit() // as above
	fmt.Fprintln(p.out)
}
