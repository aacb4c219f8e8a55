package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// serviceLinks are the variables that Kubernetes and Docker make of a service
// called efs or efs-something for every container beside it, such as
// EFS_SERVER_PORT=tcp://10.0.0.1:443 and EFS_SERVER_PORT_443_TCP_ADDR.
var serviceLinks = regexp.MustCompile(`^EFS_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// serviceLink reports whether a variable is one of those: nobody meant it as
// a setting, and there is nothing to be told about it.
func serviceLink(name, value string) bool {
	if !serviceLinks.MatchString(name) {
		return false
	}
	if strings.HasSuffix(name, "_PORT") && !strings.HasSuffix(name, "_SERVICE_PORT") && !strings.Contains(name, "_PORT_") {
		return strings.Contains(value, "://")
	}
	return true
}

// unknownKeys reports what a file sets and nobody knows, all at once.
func unknownKeys(path string, in *koanf.Koanf) error {
	var names []string
	for _, s := range settings {
		names = append(names, s.key)
	}
	names = append(names, tables...)
	var errs []error
	unknown := func(key string, names []string) {
		if !slices.Contains(names, key) {
			errs = append(errs, fmt.Errorf("configuration file %s: there is no setting %q%s", path, key, DidYouMean(key, names)))
		}
	}
	for _, key := range in.Keys() {
		// A table without any key, such as an empty [server], sets nothing.
		if m, ok := in.Get(key).(map[string]any); ok && len(m) == 0 && isSection(key) {
			continue
		}
		unknown(key, names)
	}
	fields := Names(reflect.TypeFor[Listener]())
	for _, table := range maps(in.Get("listener")) {
		for _, key := range sorted(table) {
			if !slices.Contains(fields, key) {
				errs = append(errs, fmt.Errorf("configuration file %s: [[listener]] has no setting %q%s", path, key, DidYouMean(key, fields)))
			}
		}
	}
	return errors.Join(errs...)
}

func isSection(name string) bool {
	for _, s := range sections {
		if s.name == name {
			return true
		}
	}
	return false
}

// maps are the tables of a list of tables.
func maps(v any) []map[string]any {
	var out []map[string]any
	switch list := v.(type) {
	case []map[string]any:
		return list
	case []any:
		for _, e := range list {
			if m, ok := e.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

func sorted(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Names returns the names of a struct's settings, from its koanf tags, those
// of squashed structs among them.
func Names(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		switch {
		case opts == "squash":
			out = append(out, Names(f.Type)...)
		case tag != "" && tag != "-":
			out = append(out, tag)
		}
	}
	return out
}

// DidYouMean returns `: did you mean "x"?` for the name that is nearest to
// what was given, or "" if none is near.
func DidYouMean(given string, names []string) string {
	best, at := "", len(given)/3+2
	for _, n := range names {
		d := distance(given, n)
		if _, last, ok := strings.Cut(n, "."); ok && last == given {
			d = 1 // the right key without its section
		}
		if d < at {
			best, at = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is how many letters must be added, taken away or exchanged to make
// one text the other (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// NearVariable returns `: did you mean "EFS_…"?` for a variable that names no
// setting, or "".
func NearVariable(name string) string {
	var names []string
	for _, s := range settings {
		names = append(names, Variable(s.key))
	}
	return DidYouMean(name, names)
}
