package config

import (
	"reflect"
	"slices"
)

// Change is a setting that is no longer as it was. Old and New are values as
// in the file; of lists of tables, which may hold what is not for showing,
// they are empty.
type Change struct {
	Key  string `json:"setting"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	Live bool   `json:"-"` // it can be applied without a restart
}

// Diff tells what of next is not in force in c.
func (c *Config) Diff(next *Config) []Change {
	var out []Change
	for _, s := range settings {
		if old, now := c.value(&s), next.value(&s); old != now {
			out = append(out, Change{Key: s.key, Old: old, New: now, Live: s.live})
		}
	}
	for _, t := range tables {
		if !reflect.DeepEqual(c.raw.Get(t), next.raw.Get(t)) {
			out = append(out, Change{Key: t})
		}
	}
	return out
}

// With returns the settings of c with those of next that can be applied
// without a restart: what is in force after a reload.
func (c *Config) With(next *Config) (*Config, error) {
	l := &loader{k: c.raw.Copy(), sources: map[string]string{}}
	for key, from := range c.Sources {
		l.sources[key] = from
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
		if i < 0 || !settings[i].live {
			continue
		}
		if err := l.set(key, next.raw.Get(key), next.Sources[key]); err != nil {
			return nil, err
		}
	}
	return l.decode(c.File)
}
