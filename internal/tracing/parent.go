package tracing

import (
	"context"
	"errors"

	"github.com/efs-project/efs"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// remote reads a traceparent header (W3C Trace Context, version 00 and those
// that begin like it). tracestate, in which anything may stand, is not kept.
func remote(header string) trace.SpanContext {
	if header == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": header})
	return trace.SpanContextFromContext(ctx)
}

// kinds are the words for the kinds of failure that a span may tell of.
var kinds = []struct {
	err  error
	word string
}{
	{efs.ErrNotFound, "not-found"}, {efs.ErrExists, "exists"}, {efs.ErrPrecondition, "precondition"},
	{efs.ErrConflict, "conflict"}, {efs.ErrNotDir, "not-a-directory"}, {efs.ErrIsDir, "is-a-directory"}, {efs.ErrSymlink, "symlink"},
	{efs.ErrNotEmpty, "not-empty"}, {efs.ErrBadPath, "bad-path"}, {efs.ErrBadInput, "bad-input"},
	{efs.ErrDigest, "digest"}, {efs.ErrQuota, "quota"}, {efs.ErrNoSpace, "no-space"},
	{efs.ErrLogTruncated, "log-truncated"}, {efs.ErrStopped, "stopped"}, {efs.ErrDamaged, "damaged"},
	{efs.ErrSealed, "sealed"}, {efs.ErrWrongKey, "wrong-key"}, {efs.ErrUnavailable, "unavailable"},
	{efs.ErrRefused, "refused"}, {efs.ErrUnsupported, "unsupported"}, {efs.ErrForgotten, "forgotten"},
	{efs.ErrUnitBorder, "unit-border"}, {context.Canceled, "cancelled"}, {context.DeadlineExceeded, "timeout"},
}

func kindOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	return "other"
}
