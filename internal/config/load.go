package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// notSettings are variables that EFS uses and that are no settings of the
// server.
var notSettings = []string{"EFS_STARTER_KEY", "EFS_CONFIG"}

// Flags adds a flag for each setting that has one, and --config.
func Flags(fs *pflag.FlagSet) {
	fs.String("config", "", "TOML file with settings")
	for _, s := range settings {
		if s.flag == "" {
			continue
		}
		switch v := s.value.(type) {
		case string:
			fs.String(s.flag, v, s.help)
		case bool:
			fs.Bool(s.flag, v, s.help)
		case []string:
			fs.StringSlice(s.flag, v, s.help)
		}
	}
}

// loader gathers the settings, layer by layer, and remembers where each came
// from.
type loader struct {
	k       *koanf.Koanf
	sources map[string]string
	unknown []string // variables
	wrong   error    // what the file has that is no setting
}

// Load returns the settings in force: defaults, the file that --config or
// EFS_CONFIG names, the variables in environ, and the flags of fs that were
// given. Its error tells everything that is wrong, one a line, each with the
// name of the setting and where it stands.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	l := &loader{k: koanf.New("."), sources: map[string]string{}}
	for _, s := range settings {
		if err := l.set(s.key, s.value, SourceDefault); err != nil {
			return nil, err
		}
	}
	path := configFile(fs, environ)
	if err := l.file(path); err != nil {
		return nil, err
	}
	if err := l.environment(environ); err != nil {
		return nil, err
	}
	if err := l.flags(fs); err != nil {
		return nil, err
	}
	return l.decode(path)
}

func (l *loader) set(key string, v any, source string) error {
	if err := l.k.Set(key, v); err != nil {
		return fmt.Errorf("%s: setting %s: %w", source, key, err)
	}
	l.sources[key] = source
	return nil
}

// decode makes a Config of what was gathered, and judges it.
func (l *loader) decode(path string) (*Config, error) {
	c := &Config{File: path, Unknown: l.unknown, Sources: l.sources, raw: l.k}
	err := l.k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: c, TagName: "koanf", WeaklyTypedInput: true, DecodeHook: DecodeHook(),
	}})
	if err != nil {
		return nil, errors.Join(l.wrong, l.placed(decodeErrors(err)))
	}
	if c.Root, err = filepath.Abs(c.Root); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	if err := c.Validate(); err != nil {
		return nil, errors.Join(l.wrong, l.placed(err))
	}
	if l.wrong != nil {
		return nil, l.wrong
	}
	return c, nil
}

// placed puts where a setting was given behind each error that begins with
// its name.
func (l *loader) placed(err error) error {
	var out []error
	for _, e := range split(err) {
		name := strings.TrimPrefix(e.Error(), "setting '")
		end := strings.IndexFunc(name, func(r rune) bool {
			return r != '_' && r != '.' && (r < 'a' || r > 'z')
		})
		if end > 0 {
			if from := l.sources[name[:end]]; from != "" && from != SourceDefault {
				e = fmt.Errorf("%w (from %s)", e, from)
			}
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}

// split takes joined errors apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, split(e)...)
		}
		return out
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// decodeErrors takes away the preamble that mapstructure puts before its
// errors, each of which begins with the name of a setting.
func decodeErrors(err error) error {
	var joined interface {
		error
		Unwrap() []error
	}
	if !errors.As(err, &joined) {
		return fmt.Errorf("setting %w", err)
	}
	var out []error
	for _, e := range split(joined) {
		out = append(out, fmt.Errorf("setting %w", e))
	}
	return errors.Join(out...)
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

func (l *loader) file(path string) error {
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
	l.wrong = unknownKeys(path, in) // told with what is wrong with the others
	for _, key := range in.Keys() {
		if !isSection(key) {
			l.sources[key] = "file " + path
		}
	}
	return l.k.Merge(in)
}

func (l *loader) environment(environ []string) error {
	transform := func(name, value string) (string, any) {
		if slices.Contains(notSettings, name) {
			return "", nil
		}
		for _, s := range settings {
			if name != Variable(s.key) {
				continue
			}
			l.sources[s.key] = "variable " + name
			if _, list := s.value.([]string); list {
				return s.key, splitList(value)
			}
			return s.key, value
		}
		if !serviceLink(name, value) {
			l.unknown = append(l.unknown, name)
		}
		return "", nil
	}
	provider := env.Provider(".", env.Opt{Prefix: "EFS_", TransformFunc: transform, EnvironFunc: func() []string { return environ }})
	if err := l.k.Load(provider, nil); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	slices.Sort(l.unknown)
	return nil
}

func (l *loader) flags(fs *pflag.FlagSet) error {
	for _, s := range settings {
		if s.flag == "" {
			continue
		}
		f := fs.Lookup(s.flag)
		if f == nil || !f.Changed {
			continue
		}
		if err := l.set(s.key, posflag.FlagVal(fs, f), "flag --"+s.flag); err != nil {
			return err
		}
	}
	return nil
}

// Variable returns the environment variable of a setting: EFS_SECTION_KEY.
func Variable(key string) string {
	return "EFS_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
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
