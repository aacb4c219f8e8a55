package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/efs-project/efs/internal/audit"
)

// Validate reports every setting that cannot hold, each by its name.
func (c *Config) Validate() error {
	return errors.Join(
		absolute("root", c.Root, false),
		absolute("storage.system", c.Storage.System, true),
		absolute("storage.keys", c.Storage.Keys, true),
		absolute("storage.index", c.Storage.Index, true),
		absolute("storage.files", c.Storage.Files, true),
		absolute("audit.dir", c.Audit.Dir, true),
		c.validateListeners(),
		c.KMS.validate(),
		c.Starter.validate(c.KMS.Providers),
		c.Limits.validate(),
		c.Cache.validate(),
		c.Audit.validate(),
		atLeast("journal.interval", c.Journal.Interval, time.Minute),
		c.Tracing.validate(),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "text", "json"),
	)
}

func absolute(key, dir string, mayLack bool) error {
	if filepath.IsAbs(dir) || dir == "" && mayLack {
		return nil
	}
	return fmt.Errorf("%s: %q must be an absolute path", key, dir)
}

func oneOf(key, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	if near := DidYouMean(value, values); near != "" {
		return fmt.Errorf("%s: %q is none of %v%s", key, value, values, near)
	}
	return fmt.Errorf("%s: %q is none of %v", key, value, values)
}

func atLeast[T cmp.Ordered](key string, value, least T) error {
	if value < least {
		return fmt.Errorf("%s: %v is below %v", key, value, least)
	}
	return nil
}

func (l *Limits) validate() error {
	return errors.Join(
		atLeast("limits.uploads", l.Uploads, 1),
		atLeast("limits.requests", l.Requests, 1),
		atLeast("limits.connections", l.Connections, 1),
		atLeast("limits.slow_client", l.SlowClient, time.Millisecond),
		atLeast("limits.idle_timeout", l.IdleTimeout, time.Millisecond),
		atLeast("limits.shutdown", l.Shutdown, time.Millisecond),
		atLeast("limits.header", l.Header, 4<<10),
	)
}

func (c *Cache) validate() error {
	errs := []error{atLeast("cache.ttl", c.TTL, time.Second)}
	if c.Where != "memory" && !filepath.IsAbs(c.Where) {
		errs = append(errs, fmt.Errorf("cache.where: %q is neither \"memory\" nor the absolute path of a directory", c.Where))
	}
	if c.Size > 0 {
		errs = append(errs, atLeast("cache.size", c.Size, 1<<20), atLeast("cache.max_file", c.MaxFile, 1))
		if c.MaxFile > c.Size {
			errs = append(errs, fmt.Errorf("cache.max_file: %s is above cache.size, %s", c.MaxFile, c.Size))
		}
	}
	return errors.Join(errs...)
}

func (a *Audit) validate() error {
	_, sinks := audit.ParseSinks(a.Sinks, func(string) (audit.HeadSink, error) { return nil, nil })
	return errors.Join(
		atLeast("audit.max_size", a.MaxSize, 64<<10),
		atLeast("audit.keep", a.Keep, 0),
		sinks,
	)
}

func (t *Tracing) validate() error {
	if !(t.SampleRatio >= 0 && t.SampleRatio <= 1) { // NaN neither
		return fmt.Errorf("tracing.sample_ratio: %v is not between 0 and 1", t.SampleRatio)
	}
	if t.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("tracing.endpoint: %q is no URL such as http://127.0.0.1:4318", t.Endpoint)
	}
	if u.User != nil {
		return errors.New("tracing.endpoint: credentials do not belong in it: put them into the variable OTEL_EXPORTER_OTLP_HEADERS")
	}
	return nil
}
