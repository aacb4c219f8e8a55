package config

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// PrintDefaults writes a file of all settings, each with what it does, how
// else it is set, and its default as a comment that begins with # and no
// space. types are the types of KMS provider with the names of their options.
func PrintDefaults(w io.Writer, types map[string][]string) error {
	var b strings.Builder
	b.WriteString(`# Settings of efs-server. What is commented out is the default: take the # away
# and change it. A variable overrides the file, a flag overrides the variable;
# lists in variables are separated by commas. Durations are 30s, 5m, 1h30m, 30d;
# sizes 512, 64KiB, 10MiB, 2GiB.
`)
	for _, sec := range sections {
		if sec.name != "" {
			fmt.Fprintf(&b, "\n%s[%s]\n", comment(sec.help), sec.name)
		}
		for _, s := range settings {
			if s.section() == sec.name {
				fmt.Fprintf(&b, "\n%s%s#%s = %s\n", comment(s.help), comment(s.otherWays()), s.name(), tomlValue(s.value))
			}
		}
		switch sec.name {
		case "server":
			b.WriteString(listenerExample)
		case "kms":
			printProviders(&b, types)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const listenerExample = `
# Listeners, in place of listen, ops_listen, factors, trusted_proxies and
# proxy_protocol above. routes: data, auth, api, changes, ops; none is all.
# client_cert: request, require or none. plain: HTTP without TLS, for
# routes = ["ops"] or from trusted_proxies alone.
#
#     [[listener]]
#     address = ":443"
#     routes = ["data", "auth", "changes"]
#     factors = ["certificate", "basic", "token"]
#     trusted_proxies = ["10.0.0.0/8"]
#     proxy_protocol = true
#     client_cert = "request"
#     tls_cert = "/etc/efs/chain.pem"
#     tls_key = "/etc/efs/key.pem"
#
#     [[listener]]
#     address = "unix:/run/efs/ops.sock"
#     routes = ["ops"]
#     plain = true
`

func printProviders(b *strings.Builder, types map[string][]string) {
	b.WriteString(`
# KMSs besides the local one. A stage of a policy names one and a key of it.
#
#     [[kms.provider]]
#     name = "NAME"
#     type = "TYPE"
#     OPTION = …
#
`)
	var names []string
	for t := range types {
		names = append(names, t)
	}
	slices.Sort(names)
	for _, t := range names {
		b.WriteString(comment(fmt.Sprintf("type %q: %s", t, strings.Join(types[t], ", "))))
	}
	if len(names) == 0 {
		b.WriteString("# This program was built without any type.\n")
	}
}

func (s *setting) section() string {
	sec, _, ok := strings.Cut(s.key, ".")
	if !ok {
		return ""
	}
	return sec
}

func (s *setting) name() string { return s.key[strings.LastIndexByte(s.key, '.')+1:] }

// otherWays tells of the variable and the flag.
func (s *setting) otherWays() string {
	out := Variable(s.key)
	if s.flag != "" {
		out += ", --" + s.flag
	}
	if s.live {
		out += "; a reload applies it"
	}
	return out
}

// comment breaks a text into lines of a comment.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 80 && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	return b.String()
}

// tomlValue writes a value as TOML, which for these types is JSON.
func tomlValue(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}

// PrintEffective writes the settings in force as a file that sets the same,
// each with where it came from. Secrets among the options of providers are
// left out.
func (c *Config) PrintEffective(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# The settings in force, and where each came from.\n")
	for _, sec := range sections {
		if sec.name != "" {
			fmt.Fprintf(&b, "\n[%s]\n", sec.name)
		}
		for _, s := range settings {
			if s.section() != sec.name || len(c.Listener) > 0 && slices.Contains(shortForm, s.key) {
				continue
			}
			fmt.Fprintf(&b, "%-34s # %s\n", s.name()+" = "+c.value(&s), c.Sources[s.key])
		}
		switch sec.name {
		case "server":
			c.printTables(&b, "listener")
		case "kms":
			c.printTables(&b, "kms.provider")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// value is a setting as it was given, in the type of its default: variables
// give texts for numbers and switches too.
func (c *Config) value(s *setting) string {
	v := c.raw.Get(s.key)
	switch s.value.(type) {
	case int, bool, float64:
		return fmt.Sprint(v)
	case []string:
		if one, ok := v.(string); ok {
			return tomlValue([]string{one})
		}
	}
	return tomlValue(v)
}

var secretOption = regexp.MustCompile(`(?i)(^|_)(token|pin|password|passphrase|secret|secret_id|secret_key|private_key|access_key|api_key)$`)

func (c *Config) printTables(b *strings.Builder, key string) {
	for _, table := range maps(c.raw.Get(key)) {
		fmt.Fprintf(b, "\n[[%s]]  # %s\n", key, c.Sources[key])
		for _, name := range sorted(table) {
			value := tomlValue(table[name])
			if key == "kms.provider" && secretOption.MatchString(name) {
				value = `"…"  # not shown`
			}
			fmt.Fprintf(b, "%s = %s\n", name, value)
		}
	}
}
