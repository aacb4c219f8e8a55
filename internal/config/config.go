// Package config reads the settings of the server: built-in defaults, then a
// TOML file, then the environment, then command-line flags, each overriding
// the one before.
//
// A setting SECTION.KEY is read from [SECTION] KEY in the file and from the
// variable EFS_SECTION_KEY; lists in variables are separated by commas. What
// the file sets and nobody knows is an error, since a misspelled setting is
// one that silently does not hold; unknown EFS_ variables are only reported,
// since orchestrators inject variables of their own (EFS_SERVER_PORT=tcp://…).
// The starter key is no setting and never passes through here.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Config is everything that can be set.
type Config struct {
	Root    string  `koanf:"root"`
	Server  Server  `koanf:"server"`
	Storage Storage `koanf:"storage"`
	Starter Starter `koanf:"starter"`
	Limits  Limits  `koanf:"limits"`
	Log     Log     `koanf:"log"`

	// Unknown lists EFS_ variables that name no setting, for a warning.
	Unknown []string `koanf:"-"`
}

// Server is where and how requests are taken.
type Server struct {
	Listen         string   `koanf:"listen"`          // HTTPS address, host:port
	OpsListen      string   `koanf:"ops_listen"`      // plain HTTP address for health and metrics; "" for none
	Hostnames      []string `koanf:"hostnames"`       // names and addresses in the server's own certificate, besides the usual
	TLSCert        string   `koanf:"tls_cert"`        // PEM certificate chain given instead of the server's own
	TLSKey         string   `koanf:"tls_key"`         // PEM key for it
	Factors        []string `koanf:"factors"`         // what a request must carry: certificate, basic, token
	TrustedProxies []string `koanf:"trusted_proxies"` // addresses or prefixes whose Client-Cert and PROXY headers count
	ProxyProtocol  bool     `koanf:"proxy_protocol"`  // trusted proxies send the PROXY protocol
}

// Storage moves parts of the root to volumes of their own. Empty: under root.
type Storage struct {
	System string `koanf:"system"` // holds NAME/system
	Keys   string `koanf:"keys"`   // holds keys.db
	Index  string `koanf:"index"`  // holds NAME/index.db
	Files  string `koanf:"files"`  // holds NAME/files
}

// Starter tells where the starter key comes from, besides EFS_STARTER_KEY.
type Starter struct {
	KeyFile string `koanf:"key_file"` // file with the base64 starter key
	Keyring string `koanf:"keyring"`  // description of a key in the Linux keyring
	Prompt  bool   `koanf:"prompt"`   // ask for a passphrase on the terminal
}

// Limits bound what one request, one client or all of them may use.
type Limits struct {
	Body        Size          `koanf:"body"`         // largest body of a store; 0: none
	Uploads     int           `koanf:"uploads"`      // stores under way at once
	Requests    int           `koanf:"requests"`     // requests under way at once
	Connections int           `koanf:"connections"`  // connections open at once
	Header      Size          `koanf:"header"`       // request line and headers
	SlowClient  time.Duration `koanf:"slow_client"`  // a client that makes no progress for so long is cut off
	IdleTimeout time.Duration `koanf:"idle_timeout"` // an idle connection is closed after so long
	Shutdown    time.Duration `koanf:"shutdown"`     // how long a stopping server waits for requests under way
}

// Log is how and how much is logged.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // text or json
}

// Validate reports the first setting that cannot hold, naming it.
func (c *Config) Validate() error {
	if !filepath.IsAbs(c.Root) {
		return fmt.Errorf("root: %q must be an absolute path", c.Root)
	}
	for key, dir := range map[string]string{"storage.system": c.Storage.System, "storage.keys": c.Storage.Keys,
		"storage.index": c.Storage.Index, "storage.files": c.Storage.Files} {
		if dir != "" && !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: %q must be an absolute path", key, dir)
		}
	}
	if err := c.Server.validate(); err != nil {
		return err
	}
	if err := c.Limits.validate(); err != nil {
		return err
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
	}
	return nil
}

func (s *Server) validate() error {
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		return fmt.Errorf("server.listen: %q is no address such as :443 or 127.0.0.1:8443", s.Listen)
	}
	if s.OpsListen != "" {
		if _, _, err := net.SplitHostPort(s.OpsListen); err != nil {
			return fmt.Errorf("server.ops_listen: %q is no address such as 127.0.0.1:9443", s.OpsListen)
		}
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return fmt.Errorf("server.tls_cert and server.tls_key: give both or neither")
	}
	if len(s.Factors) == 0 {
		return fmt.Errorf("server.factors: at least one of certificate, basic, token")
	}
	for _, f := range s.Factors {
		if !slices.Contains([]string{"certificate", "basic", "token"}, f) {
			return fmt.Errorf("server.factors: %q is none of certificate, basic, token", f)
		}
	}
	_, err := s.Proxies()
	return err
}

func (l *Limits) validate() error {
	for key, n := range map[string]int{"limits.uploads": l.Uploads, "limits.requests": l.Requests, "limits.connections": l.Connections} {
		if n < 1 {
			return fmt.Errorf("%s: %d is not at least 1", key, n)
		}
	}
	for key, d := range map[string]time.Duration{"limits.slow_client": l.SlowClient, "limits.idle_timeout": l.IdleTimeout, "limits.shutdown": l.Shutdown} {
		if d <= 0 {
			return fmt.Errorf("%s: %s is not above zero", key, d)
		}
	}
	if l.Header < 4<<10 {
		return fmt.Errorf("limits.header: %s is below 4KiB, which requests need", l.Header)
	}
	return nil
}

// Proxies returns TrustedProxies as prefixes; a lone address is a prefix of
// its whole length.
func (s *Server) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range s.TrustedProxies {
		if a, err := netip.ParseAddr(p); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("server.trusted_proxies: %q is no address or prefix such as 10.0.0.0/8", p)
		}
		out = append(out, prefix)
	}
	return out, nil
}
