// Package counted counts what is written.
package counted

import "io"

// Writer passes writes on to W and counts them. It is not for concurrent use.
type Writer struct {
	W    io.Writer
	Told func(n int64) // of each Write's bytes; nil: nobody is told
	N    int64         // bytes that W has taken
	Err  error         // the last error of W
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.W.Write(p)
	w.N += int64(n)
	if w.Told != nil {
		w.Told(int64(n))
	}
	if err != nil {
		w.Err = err
	}
	return n, err
}
