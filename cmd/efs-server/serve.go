package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/accesslog"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/contentcache"
	"github.com/efs-project/efs/internal/kms/open"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/prompt"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/server"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/internal/tracing"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const serveLong = `efs-server serves encrypted file systems over HTTPS.

The starter key opens what lies under the root. It comes from the variable
EFS_STARTER_KEY, from --starter-key-file, from a passphrase (--starter-prompt),
from the systemd credential efs-starter-key or from the Linux keyring. With an
empty root and a key the server initialises the root. Without a key it waits:
efsctl init makes a key for an empty root, efsctl unseal opens a sealed one.

Every setting can stand in a TOML file (--config), in a variable
EFS_SECTION_KEY, or, most of them, in a flag; efs-server config print writes a
file of them with their defaults. SIGHUP and efsctl reload have the file and the
certificates read again.

Exit codes: 0 stopped when asked to, 1 failure, 2 usage or configuration,
3 the starter key does not fit the root.`

const serveExample = `  # a fresh root, on an unprivileged port
  (umask 077; efs-server keygen > starter.key)
  efs-server --root /srv/efs --listen :8443 --starter-key-file starter.key

  # as a container's only process, with the key in its environment
  EFS_STARTER_KEY=… efs-server --hostname efs.example.org

  # without a key: efsctl init or efsctl unseal follows
  efs-server --ops-listen 127.0.0.1:9443`

func serveCommand() *cobra.Command {
	var rollback []string
	var profile string
	cmd := &cobra.Command{
		Use:     "efs-server",
		Short:   "Serve encrypted file systems over HTTPS",
		Long:    serveLong,
		Example: serveExample,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if profile == "" {
				return serve(cmd, rollback)
			}
			stop, err := profileCPU(profile)
			if err != nil {
				return err
			}
			return errors.Join(serve(cmd, rollback), stop())
		},
	}
	config.Flags(cmd.Flags())
	cmd.Flags().StringSliceVar(&rollback, "accept-rollback", nil, "file system to open although its index is older than its anchor (repeatable)")
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "write a CPU profile of the run to this file when the server stops")
	if err := cmd.Flags().MarkHidden("cpuprofile"); err != nil {
		panic(err) // the flag was defined one line above
	}
	return cmd
}

// loadConfig reads the settings and judges them. Its error is one of usage,
// and tells everything that is wrong.
func loadConfig(flags *pflag.FlagSet, environ []string) (*config.Config, error) {
	cfg, err := config.Load(flags, environ)
	if err != nil {
		return nil, usageError{err}
	}
	if err := open.Check(cfg.KMS.Providers); err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// serve runs the server until the command's context ends.
func serve(cmd *cobra.Command, rollback []string) error {
	tuneMemory()
	if err := secret.Harden(); err != nil {
		return err
	}
	if err := starter.ReexecWithoutEnv(); err != nil {
		return err
	}
	cfg, err := loadConfig(cmd.Flags(), os.Environ())
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1) // from here on none of them ends the process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	level := new(slog.LevelVar)
	level.Set(levels[cfg.Log.Level])
	log, requests := newLogger(cmd.ErrOrStderr(), level, cfg.Log.Format)
	defer requests.Flush()
	for _, name := range cfg.Unknown {
		log.Warn("variable names no setting and is ignored"+config.NearVariable(name), "variable", name)
	}
	listeners, certs, err := listen(cfg)
	if err != nil {
		return err
	}
	traces, err := openTracing(cmd.Context(), cfg, os.Environ(), log)
	if err != nil {
		closeAll(listeners)
		return err
	}
	defer traces.Close(context.WithoutCancel(cmd.Context()))
	providers, err := open.Providers(cmd.Context(), cfg.KMS.Providers)
	if err != nil {
		closeAll(listeners)
		return err
	}
	cache, err := openCache(cfg, log)
	if err != nil {
		closeAll(listeners)
		return errors.Join(err, open.Close(providers))
	}
	n, err := openNode(cmd.Context(), cfg, providers, cache, traces.Tracer(), rollback, log)
	if err != nil {
		closeAll(listeners)
		return errors.Join(err, closeCache(cache), open.Close(providers))
	}
	r := &reloader{flags: cmd.Flags(), level: level, certs: certs, node: n, log: log, force: cfg}
	err = runNode(cmd.Context(), r, listeners, requests, hangups)
	if cerr := n.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("stopping: %w", cerr))
	}
	err = errors.Join(err, closeCache(cache), open.Close(providers))
	if err == nil {
		log.Info("stopped")
	}
	return err
}

func openNode(ctx context.Context, cfg *config.Config, providers map[string]efs.KMS, cache *contentcache.Cache, tracer *tracing.Tracer, rollback []string, log *slog.Logger) (*node.Node, error) {
	source := starter.DefaultSource()
	source.File = cfg.Starter.KeyFile
	if cfg.Starter.Keyring != "" {
		source.Keyring = cfg.Starter.Keyring
	}
	if cfg.Starter.Prompt {
		source.Prompt = func(text string) ([]byte, error) {
			return prompt.Secret(ctx, func() ([]byte, error) { return starter.TerminalPrompt(text) })
		}
	}
	key, err := starter.Find(filepath.Join(cfg.Root, ".server"), source)
	if err != nil {
		return nil, keyError(err)
	}
	n, err := node.New(ctx, node.Config{
		Root:       cfg.Root,
		Storage:    node.Storage(cfg.Storage),
		Key:        key,
		Providers:  providers,
		Cache:      cache,
		Tracer:     tracer,
		StarterKMS: cfg.Starter.KMS,
		KMS:        node.KMSConfig{KeyTTL: cfg.KMS.KeyTTL, OutageGrace: cfg.KMS.OutageGrace, Timeout: cfg.KMS.Timeout, DeletionWait: cfg.KMS.DeletionWait},
		Audit: node.AuditConfig{Enabled: cfg.Audit.Enabled, Dir: cfg.Audit.Dir, MaxSize: int64(cfg.Audit.MaxSize),
			Keep: cfg.Audit.Keep, Sinks: cfg.Audit.Sinks},
		Journal:        node.JournalConfig(cfg.Journal),
		Hostnames:      cfg.Server.Hostnames,
		TLSCert:        cfg.Server.TLSCert,
		TLSKey:         cfg.Server.TLSKey,
		AcceptRollback: rollback,
		Logger:         log,
	})
	if errors.Is(err, efs.ErrBadInput) {
		return nil, usageError{err} // of what was configured: nothing else is put in yet
	}
	return n, err
}

// keyError marks errors of a starter key that is given wrongly, which another
// start does not mend.
func keyError(err error) error {
	for _, kind := range []error{efs.ErrBadInput, efs.ErrRefused, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(err, kind) {
			return usageError{err}
		}
	}
	return err
}

// runNode serves requests and commands until ctx ends or one of them fails,
// and returns when both have stopped: first requests, then commands.
func runNode(ctx context.Context, r *reloader, listeners []server.Listener, requests accesslog.Logger, hangups <-chan os.Signal) error {
	n, cfg, log := r.node, r.force, r.log
	control, err := admin.NewServer(n, cfg.Root, log)
	if err != nil {
		closeAll(listeners)
		return err
	}
	for _, l := range listeners {
		log.Info("listening", "address", l.Addr().String(), "ops", l.Ops)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.https = server.New(n, server.Config{Logger: log, Requests: requests, Limits: limits(cfg.Limits), Certificate: n.Certificate})
	control.OnReload(r.reload)
	var tasks sync.WaitGroup
	defer func() {
		cancel()
		tasks.Wait()
	}()
	tasks.Go(func() { r.watch(ctx, hangups) })
	controlCtx, stopControl := context.WithCancel(context.WithoutCancel(ctx))
	defer stopControl()
	controlDone := make(chan error, 1)
	go func() {
		err := control.Serve(controlCtx)
		cancel() // without commands a server cannot be administered
		controlDone <- err
	}()
	err = r.https.Serve(ctx, listeners...)
	stopControl()
	return errors.Join(err, <-controlDone)
}

func limits(l config.Limits) server.Limits {
	out := server.Limits{
		Body: int64(l.Body), Header: int(l.Header), Uploads: l.Uploads, Requests: l.Requests, Connections: l.Connections,
		SlowClient: l.SlowClient, IdleTimeout: l.IdleTimeout, Shutdown: l.Shutdown,
	}
	if out.Body == 0 {
		out.Body = -1 // no bound
	}
	return out
}

func closeAll(listeners []server.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was accepted
	}
}

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// newLogger returns the two ways into the log: for what happens, which is
// written at once, and for the requests, whose lines are collected until Flush.
func newLogger(w io.Writer, level slog.Leveler, format string) (*slog.Logger, *accesslog.Writer) {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: utcTime}
	requests := accesslog.NewWriter(w, level, format == "json")
	if format == "json" {
		return slog.New(slog.NewJSONHandler(requests, options)), requests
	}
	return slog.New(slog.NewTextHandler(requests, options)), requests
}

// utcTime writes times in UTC, so that logs of several servers can be merged.
func utcTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Value = slog.StringValue(a.Value.Time().UTC().Format(time.RFC3339Nano))
	}
	return a
}
