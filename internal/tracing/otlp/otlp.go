// Package otlp sends traces to a collector, over OTLP/HTTP.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/tracing"
	"github.com/efs-project/efs/internal/version"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Sender sends what its Tracer makes. Open makes one; a nil Sender sends nothing.
type Sender struct {
	provider *sdk.TracerProvider
	tracer   *tracing.Tracer
	exporter *quiet
}

// Options say where traces go, and which.
type Options struct {
	Endpoint string       // base URL of an OTLP/HTTP receiver; v1/traces is added to it
	Ratio    float64      // part of the traces begun here that is kept, 0 to 1
	Logger   *slog.Logger // nil: slog.Default()
}

const (
	sendTimeout  = 10 * time.Second // of one batch, with all its tries
	queue        = 4096             // spans that wait for the collector; more are dropped
	closeTimeout = 5 * time.Second
)

// Open begins to send traces. What else the OpenTelemetry SDK lets its
// variables say about an exporter and a resource (OTEL_EXPORTER_OTLP_HEADERS,
// OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, …) holds. Nobody is asked whether the collector is
// there: it may come and go. Close the Sender.
func Open(ctx context.Context, o Options) (*Sender, error) {
	to, err := tracesURL(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to), otlptracehttp.WithTimeout(sendTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: sendTimeout}))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w: %w", efs.ErrBadInput, err)
	}
	about, err := describe(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tracing: %w: OTEL_RESOURCE_ATTRIBUTES: %w", efs.ErrBadInput, err), exporter.Shutdown(ctx))
	}
	quiet := &quiet{SpanExporter: exporter, log: o.Logger, to: to}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Logger.Debug("tracing", "err", err) }))
	p := sdk.NewTracerProvider(
		sdk.WithBatcher(quiet, sdk.WithMaxQueueSize(queue), sdk.WithExportTimeout(sendTimeout)),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio))),
		sdk.WithResource(about))
	return &Sender{p, tracing.New(p.Tracer("github.com/efs-project/efs")), quiet}, nil
}

// Tracer makes the spans; nil: there are none to make.
func (s *Sender) Tracer() *tracing.Tracer {
	if s == nil {
		return nil
	}
	return s.tracer
}

// Close sends what waits, for at most five seconds, and ends sending. What a
// collector did not take until then is lost, and that is no error: traces are
// not worth an unclean end.
func (s *Sender) Close(ctx context.Context) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := s.provider.Shutdown(ctx); err != nil {
		s.exporter.log.Warn("the last traces could not be sent", "to", s.exporter.to, "err", err)
	}
}

// tracesURL is where traces are posted, as the specification of OTLP exporters
// makes it of OTEL_EXPORTER_OTLP_ENDPOINT.
func tracesURL(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return "", fmt.Errorf("tracing: %w: the endpoint is no URL such as http://127.0.0.1:4318", efs.ErrBadInput) // it may hold a password: not repeated
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u = u.JoinPath("v1/traces")
	}
	return u.String(), nil
}

// describe says who sends the traces: this build, an id of this process, and
// what the variables add.
func describe(ctx context.Context) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "efs-server"),
		attribute.String("service.version", version.Version),
		attribute.String("service.instance.id", efs.NewID().String()),
	), resource.WithFromEnv())
}

// quiet is an exporter that says once when the collector goes away and once
// when it is back, instead of at every batch.
type quiet struct {
	sdk.SpanExporter
	log  *slog.Logger
	to   string
	away atomic.Bool
}

// ExportSpans sends a batch. One that was not taken is lost.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && q.away.CompareAndSwap(false, true):
		q.log.Warn("traces cannot be sent; they are dropped until the collector takes them", "to", q.to, "err", err)
	case err == nil && q.away.CompareAndSwap(true, false):
		q.log.Info("traces are sent again", "to", q.to)
	}
	return nil // said above
}
