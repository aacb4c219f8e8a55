package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/server"
	"github.com/spf13/pflag"
)

// reloader reads the configuration of a running server again. What is wrong
// changes nothing: everything is read and judged before anything is applied.
type reloader struct {
	flags *pflag.FlagSet // of the command line, which still override
	level *slog.LevelVar
	certs []*certFile
	node  *node.Node
	https *server.Server
	log   *slog.Logger

	mu    sync.Mutex
	force *config.Config // the settings in force
}

// reload does what SIGHUP and `efsctl reload` ask for.
func (r *reloader) reload(context.Context) (admin.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, err := r.again()
	if err != nil {
		r.log.Error("the configuration was not reloaded: nothing has changed", "err", err)
		r.record("refused", err.Error())
		return done, fmt.Errorf("the configuration was not reloaded, nothing has changed: %w", err)
	}
	for _, c := range done.Applied {
		r.log.Info("setting applied", "setting", c.Key, "new", c.New, "old", c.Old)
	}
	for _, c := range done.NeedsRestart {
		r.log.Warn("setting needs a restart", "setting", c.Key, "new", c.New, "in_force", c.Old)
	}
	r.record(audit.Ok, detail(done))
	r.log.Info("configuration reloaded", "applied", len(done.Applied), "need_restart", len(done.NeedsRestart), "certificates", len(done.Certificates))
	return done, nil
}

// record puts the reload into the audit log, whoever asked for it: what bounds
// requests, and how long that log itself is kept, may have changed.
func (r *reloader) record(outcome, detail string) {
	r.node.Audit().Record(audit.Event{Op: "server.reload", Outcome: outcome, Detail: detail})
}

func detail(done admin.Reloaded) string {
	var parts []string
	for _, c := range done.Applied {
		parts = append(parts, fmt.Sprintf("%s = %s, was %s", c.Key, c.New, c.Old))
	}
	return strings.Join(parts, "; ")
}

func (r *reloader) again() (done admin.Reloaded, err error) {
	next, err := loadConfig(r.flags, os.Environ())
	if err != nil {
		return done, fmt.Errorf("%w: %w", efs.ErrBadInput, err)
	}
	force, err := r.force.With(next)
	if err != nil {
		return done, fmt.Errorf("%w: %w", efs.ErrBadInput, err)
	}
	given := &certFile{cert: r.force.Server.TLSCert, key: r.force.Server.TLSKey}
	if err := readable(given, r.certs); err != nil {
		return done, fmt.Errorf("%w: %w", efs.ErrBadInput, err)
	}
	done = admin.Reloaded{Applied: []config.Change{}, NeedsRestart: []config.Change{}, Certificates: []string{}}
	for _, c := range r.force.Diff(next) {
		if c.Live {
			done.Applied = append(done.Applied, c)
		} else {
			done.NeedsRestart = append(done.NeedsRestart, c)
		}
	}
	if done.Certificates, err = r.readCertificates(given); err != nil { // they were replaced since they were looked at
		return done, err
	}
	r.apply(force)
	return done, nil
}

// apply puts in force what the table of settings marks as live.
func (r *reloader) apply(c *config.Config) {
	r.force = c
	r.level.Set(levels[c.Log.Level])
	r.https.Tune(limits(c.Limits))
	r.node.KeepAudit(c.Audit.Keep)
}

// readable reports certificates that could not be read again.
func readable(given *certFile, own []*certFile) error {
	var errs []error
	for _, c := range append([]*certFile{given}, own...) {
		if c.cert == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(c.cert, c.key); err != nil {
			errs = append(errs, fmt.Errorf("TLS certificate: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (r *reloader) readCertificates(given *certFile) ([]string, error) {
	files := []string{}
	if given.cert != "" {
		switch err := r.node.ReloadCertificate(); {
		case errors.Is(err, efs.ErrSealed): // read when it is unsealed
		case err != nil:
			return files, err
		default:
			files = append(files, given.cert)
		}
	}
	for _, c := range r.certs {
		if err := c.read(); err != nil {
			return files, err
		}
		files = append(files, c.cert)
	}
	return files, nil
}

// watch reloads at each hangup until ctx ends. What comes of it is logged.
func (r *reloader) watch(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			_, _ = r.reload(ctx) // logged there
		}
	}
}
