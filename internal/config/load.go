package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// setting is one line of the table that defaults, file, variables and flags
// are all read by.
type setting struct {
	key   string // SECTION.KEY
	flag  string // "" for none
	usage string // of the flag
	value any    // default: string, bool, int or []string
}

var settings = []setting{
	{"root", "root", "directory that holds everything", "/efs"},
	{"server.listen", "listen", "address for HTTPS", ":443"},
	{"server.ops_listen", "ops-listen", "address for health and metrics in plain HTTP (default: none)", ""},
	{"server.hostnames", "hostname", "name or address to add to the server's own certificate (repeatable)", []string{}},
	{"server.tls_cert", "tls-cert", "PEM certificate chain to use instead of the server's own", ""},
	{"server.tls_key", "tls-key", "PEM key of --tls-cert", ""},
	{"server.factors", "factors", "what each request must carry", []string{"certificate", "basic", "token"}},
	{"server.trusted_proxies", "trusted-proxy", "address or prefix of a proxy whose Client-Cert and PROXY headers count (repeatable)", []string{}},
	{"server.proxy_protocol", "proxy-protocol", "trusted proxies send the PROXY protocol", false},
	{"storage.system", "", "", ""},
	{"storage.keys", "", "", ""},
	{"storage.index", "", "", ""},
	{"storage.files", "", "", ""},
	{"starter.key_file", "starter-key-file", "file that holds the base64 starter key", ""},
	{"starter.keyring", "starter-keyring", "description of a key in the Linux keyring that holds the starter key", ""},
	{"starter.prompt", "starter-prompt", "ask for the starter passphrase on the terminal", false},
	{"limits.body", "", "", "0"},
	{"limits.uploads", "", "", 256},
	{"limits.requests", "", "", 2048},
	{"limits.connections", "", "", 2048},
	{"limits.header", "", "", "32KiB"},
	{"limits.slow_client", "", "", "30s"},
	{"limits.idle_timeout", "", "", "2m"},
	{"limits.shutdown", "", "", "30s"},
	{"log.level", "log-level", "debug, info, warn or error", "info"},
	{"log.format", "log-format", "text or json", "text"},
}

// notSettings are variables that EFS uses and that are no settings of the
// server.
var notSettings = []string{"EFS_STARTER_KEY", "EFS_CONFIG"}

// Flags adds a flag for each setting that has one, and --config.
func Flags(fs *pflag.FlagSet) {
	fs.String("config", "", "TOML file with settings")
	for _, s := range settings {
		switch v := s.value.(type) {
		case string:
			if s.flag != "" {
				fs.String(s.flag, v, s.usage)
			}
		case bool:
			fs.Bool(s.flag, v, s.usage)
		case []string:
			fs.StringSlice(s.flag, v, s.usage)
		}
	}
}

// Load returns the settings in force: defaults, the file that --config or
// EFS_CONFIG names, the variables in environ, and the flags of fs that were
// given. Errors name the setting and where it stands.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	k := koanf.New(".")
	for _, s := range settings {
		if err := k.Set(s.key, s.value); err != nil {
			return nil, fmt.Errorf("default of %s: %w", s.key, err)
		}
	}
	if err := loadFile(k, configFile(fs, environ)); err != nil {
		return nil, err
	}
	unknown, err := loadEnv(k, environ)
	if err != nil {
		return nil, err
	}
	if err := loadFlags(k, fs); err != nil {
		return nil, err
	}
	c := &Config{}
	if err := k.Unmarshal("", c); err != nil {
		return nil, fmt.Errorf("setting %s", strings.ReplaceAll(decodeError(err).Error(), "\n", "; "))
	}
	c.Unknown = unknown
	if c.Root, err = filepath.Abs(c.Root); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return c, c.Validate()
}

// decodeError takes away the preamble that mapstructure puts before its errors,
// each of which begins with the name of a setting.
func decodeError(err error) error {
	var joined interface {
		error
		Unwrap() []error
	}
	if errors.As(err, &joined) {
		return joined
	}
	return err
}

func configFile(fs *pflag.FlagSet, environ []string) string {
	if f := fs.Lookup("config"); f != nil && f.Changed {
		return f.Value.String()
	}
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, "EFS_CONFIG="); ok {
			return v
		}
	}
	return ""
}

func loadFile(k *koanf.Koanf, path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	in := koanf.New(".")
	if err := in.Load(file.Provider(path), toml.Parser()); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	var errs []error
	for _, key := range in.Keys() {
		if !known(key) {
			errs = append(errs, fmt.Errorf("configuration file %s: there is no setting %q", path, key))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return k.Merge(in)
}

func loadEnv(k *koanf.Koanf, environ []string) (unknown []string, err error) {
	transform := func(name, value string) (string, any) {
		if slices.Contains(notSettings, name) {
			return "", nil
		}
		for _, s := range settings {
			if name != Variable(s.key) {
				continue
			}
			if _, list := s.value.([]string); list {
				return s.key, splitList(value)
			}
			return s.key, value
		}
		unknown = append(unknown, name)
		return "", nil
	}
	provider := env.Provider(".", env.Opt{Prefix: "EFS_", TransformFunc: transform, EnvironFunc: func() []string { return environ }})
	if err := k.Load(provider, nil); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	slices.Sort(unknown)
	return unknown, nil
}

func loadFlags(k *koanf.Koanf, fs *pflag.FlagSet) error {
	for _, s := range settings {
		if s.flag == "" {
			continue
		}
		f := fs.Lookup(s.flag)
		if f == nil || !f.Changed {
			continue
		}
		if err := k.Set(s.key, posflag.FlagVal(fs, f)); err != nil {
			return fmt.Errorf("--%s: %w", s.flag, err)
		}
	}
	return nil
}

// Variable returns the environment variable of a setting: EFS_SECTION_KEY.
func Variable(key string) string {
	return "EFS_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func known(key string) bool {
	return slices.ContainsFunc(settings, func(s setting) bool { return s.key == key })
}

// splitList reads "a, b" as two elements and "" as none.
func splitList(s string) []string {
	out := []string{}
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
