package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/tracing/otlp"
)

// openTracing begins to send traces where the settings, or else the variables
// of OpenTelemetry, say; nil: nobody wants any.
func openTracing(ctx context.Context, cfg *config.Config, environ []string, log *slog.Logger) (*otlp.Sender, error) {
	endpoint, from := cfg.Tracing.Endpoint, "tracing.endpoint"
	if endpoint == "" {
		if endpoint = otelEndpoint(environ); endpoint == "" {
			return nil, nil
		}
		from = "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	t, err := otlp.Open(ctx, otlp.Options{Endpoint: endpoint, Ratio: cfg.Tracing.SampleRatio, Logger: log})
	switch {
	case errors.Is(err, efs.ErrBadInput):
		return nil, usageError{err}
	case err == nil:
		log.Info("traces are sent", "to", endpoint, "ratio", cfg.Tracing.SampleRatio, "set_by", from)
	}
	return t, err
}

// otelEndpoint is what the variables common to programs with OpenTelemetry say.
func otelEndpoint(environ []string) (endpoint string) {
	for _, kv := range environ {
		switch name, value, _ := strings.Cut(kv, "="); {
		case name == "OTEL_EXPORTER_OTLP_ENDPOINT":
			endpoint = value
		case name == "OTEL_SDK_DISABLED" && strings.EqualFold(value, "true"),
			name == "OTEL_TRACES_EXPORTER" && value == "none":
			return ""
		}
	}
	return endpoint
}
