// Package ctxio makes copies end with a context.
package ctxio

import (
	"context"
	"io"
)

// NewReader returns a reader of r that fails with ctx's error once ctx has
// ended. A Read that has begun is not cut off.
func NewReader(ctx context.Context, r io.Reader) io.Reader { return &reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// NewWriter returns a writer to w that fails with ctx's error once ctx has
// ended. A Write that has begun is not cut off.
func NewWriter(ctx context.Context, w io.Writer) io.Writer { return &writer{ctx, w} }

type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w *writer) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(b)
}
