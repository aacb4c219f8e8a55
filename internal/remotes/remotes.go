// Package remotes keeps the names that a person gives to file systems, with
// what is needed to log in to each: $XDG_CONFIG_HOME/efs/remotes.toml.
package remotes

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pelletier/go-toml/v2"

	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/connect"
)

// Remote is what is remembered of a file system under a name: files are
// absolute paths, and no secret is among it.
type Remote struct {
	URL            string `toml:"url" json:"url"`
	FS             string `toml:"fs" json:"fs"`
	User           string `toml:"user" json:"user"`
	Bucket         string `toml:"bucket,omitempty" json:"bucket,omitempty"` // another file system than FS, to work in
	Key            string `toml:"key" json:"key"`
	Cert           string `toml:"cert" json:"cert"`
	CA             string `toml:"ca,omitempty" json:"ca,omitempty"`
	PassphraseFile string `toml:"passphrase_file,omitempty" json:"passphrase_file,omitempty"`
}

// File is the settings file.
type File struct {
	Remotes map[string]Remote `toml:"remotes"`
}

// Name is what a remote can be called. It leaves out single letters, which are
// drives on some machines.
var Name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]+$`)

// Options says how to log in. passphraseFile goes before what is remembered, as
// does the environment; warnings go to standard error.
func (r Remote) Options(passphraseFile string) connect.Options {
	if passphraseFile == "" && os.Getenv(connect.PassphraseFileEnv) == "" {
		passphraseFile = r.PassphraseFile
	}
	return connect.Options{
		URL: r.URL, FS: r.FS, User: r.User, Bucket: r.Bucket, Key: r.Key, Cert: r.Cert, CA: r.CA, PassphraseFile: passphraseFile,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func path() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding where settings lie: %w; set XDG_CONFIG_HOME", err)
		}
		dir = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("XDG_CONFIG_HOME is %q; it must be an absolute path", dir)
	}
	return filepath.Join(dir, "efs", "remotes.toml"), nil
}

// Load reads the settings; none yet is no error.
func Load() (*File, error) {
	r := &File{Remotes: map[string]Remote{}}
	file, err := path()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the remotes: %w", err)
	}
	if err := toml.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("reading the remotes: %s: %w", file, err)
	}
	if r.Remotes == nil {
		r.Remotes = map[string]Remote{}
	}
	return r, nil
}

// Save replaces the settings atomically.
func (r *File) Save() error {
	file, err := path()
	if err != nil {
		return err
	}
	b, err := toml.Marshal(r)
	if err != nil {
		return fmt.Errorf("saving the remotes: %w", err)
	}
	if err := atomicfile.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("saving the remotes: %w", err)
	}
	if err := atomicfile.Write(file, b, 0o600); err != nil {
		return fmt.Errorf("saving the remotes: %w", err)
	}
	return nil
}
