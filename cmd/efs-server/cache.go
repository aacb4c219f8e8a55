package main

import (
	"errors"
	"log/slog"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/contentcache"
)

// openCache opens the cache of decrypted files that the settings ask for, nil
// if they ask for none. A place that is not for plaintext is an error of
// configuration.
func openCache(cfg *config.Config, log *slog.Logger) (*contentcache.Cache, error) {
	if cfg.Cache.Size == 0 {
		return nil, nil
	}
	volumes := []string{cfg.Root}
	for _, dir := range []string{cfg.Storage.System, cfg.Storage.Keys, cfg.Storage.Index, cfg.Storage.Files} {
		if dir != "" {
			volumes = append(volumes, dir)
		}
	}
	c, err := contentcache.Open(contentcache.Options{
		Size: int64(cfg.Cache.Size), Where: cfg.Cache.Where, TTL: cfg.Cache.TTL, MaxFile: int64(cfg.Cache.MaxFile),
		Force: cfg.Cache.Force, Volumes: volumes, Logger: log,
	})
	if errors.Is(err, efs.ErrBadInput) {
		return nil, usageError{err}
	}
	if err == nil {
		log.Info("decrypted files are kept", "where", cfg.Cache.Where, "size", cfg.Cache.Size, "max_file", cfg.Cache.MaxFile, "ttl", cfg.Cache.TTL)
	}
	return c, err
}

func closeCache(c *contentcache.Cache) error {
	if c == nil {
		return nil
	}
	return c.Close()
}
