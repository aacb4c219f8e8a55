// Package tracing makes traces of requests: OpenTelemetry spans, which package
// otlp below it sends.
//
// A span says what was done, when, for how long and how it ended, with ids and
// counts. It never has a path, a name of a file, a user, or the text of an error.
//
// A nil *Tracer is one that is off: every method of it, and of the Spans that
// it returns, does nothing, at the cost of a comparison.
package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Tracer begins spans.
type Tracer struct{ tracer trace.Tracer }

// New returns a Tracer whose spans t makes.
func New(t trace.Tracer) *Tracer { return &Tracer{t} }

// Span is a step under way; the zero Span is none. End must be called once.
type Span struct{ s trace.Span }

// Request begins the span of a request that began at start, and names its
// trace. parent is what the caller sent as traceparent (W3C Trace Context); ""
// or malformed: the trace begins here, and is kept or not as the sample ratio
// decides. A valid one goes on with the caller's trace, and its decision.
func (t *Tracer) Request(ctx context.Context, parent string, start time.Time) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if p := remote(parent); p.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, p)
	}
	ctx, s := t.tracer.Start(ctx, "request", trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{s}
}

// Step begins the span of a step of what ctx is the context of. Where that is
// not traced, neither is the step.
func (t *Tracer) Step(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.step(ctx, name)
}

func (t *Tracer) step(ctx context.Context, name string) (context.Context, Span) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	ctx, s := t.tracer.Start(ctx, name)
	return ctx, Span{s}
}

// Call begins the span of a call of another service. One that no request asked
// for, as when a key is unwrapped ahead of its end, has a trace of its own.
func (t *Tracer) Call(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, Span{s}
}

// On reports whether what is said about the span goes anywhere.
func (s Span) On() bool { return s.s != nil && s.s.IsRecording() }

// Name sets the name of the span.
func (s Span) Name(name string) {
	if s.s != nil {
		s.s.SetName(name)
	}
}

// Text adds a string.
func (s Span) Text(key, value string) {
	if s.s != nil {
		s.s.SetAttributes(attribute.String(key, value))
	}
}

// Number adds a number.
func (s Span) Number(key string, value int64) {
	if s.s != nil {
		s.s.SetAttributes(attribute.Int64(key, value))
	}
}

// Failed marks the span as failed, by a word for the kind of failure. Texts of
// errors name paths, so they are not for traces.
func (s Span) Failed(kind string) {
	if s.s != nil {
		s.s.SetAttributes(attribute.String("error.type", kind))
		s.s.SetStatus(codes.Error, "")
	}
}

// End ends the span.
func (s Span) End() {
	if s.s != nil {
		s.s.End()
	}
}

// EndWith ends a span whose step came to err, which may be nil.
func (s Span) EndWith(err error) {
	if s.s == nil {
		return
	}
	if err != nil {
		s.Failed(kindOf(err))
	}
	s.s.End()
}

// TraceID is the id of the trace in 32 hexadecimal digits, to be found by in a
// log; "" if nobody keeps the trace.
func (s Span) TraceID() string {
	if s.s == nil {
		return ""
	}
	if c := s.s.SpanContext(); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}
