package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pelletier/go-toml/v2"

	"github.com/efs-project/efs/internal/atomicfile"
)

// remote is what efs remembers of a file system under a name: files are
// absolute paths, and no secret is among it.
type remote struct {
	URL            string `toml:"url" json:"url"`
	FS             string `toml:"fs" json:"fs"`
	User           string `toml:"user" json:"user"`
	Key            string `toml:"key" json:"key"`
	Cert           string `toml:"cert" json:"cert"`
	CA             string `toml:"ca,omitempty" json:"ca,omitempty"`
	PassphraseFile string `toml:"passphrase_file,omitempty" json:"passphrase_file,omitempty"`
}

// remotes is the settings file, $XDG_CONFIG_HOME/efs/remotes.toml.
type remotes struct {
	Remotes map[string]remote `toml:"remotes"`
}

// remoteName leaves out single letters, which are drives on some machines.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]+$`)

func remotesFile() (string, error) {
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

// loadRemotes reads the settings; none yet is no error.
func loadRemotes() (*remotes, error) {
	r := &remotes{Remotes: map[string]remote{}}
	file, err := remotesFile()
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
		r.Remotes = map[string]remote{}
	}
	return r, nil
}

func (r *remotes) save() error {
	file, err := remotesFile()
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
