package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// Listener is a [[listener]]: an address and what is served there.
type Listener struct {
	Address        string   `koanf:"address"`         // host:port, or unix:/PATH for a plain one
	Routes         []string `koanf:"routes"`          // of Routes; none: all of them
	Plain          bool     `koanf:"plain"`           // HTTP without TLS: for health and metrics, or from trusted proxies
	Factors        []string `koanf:"factors"`         // of Factors; none: all three
	TrustedProxies []string `koanf:"trusted_proxies"` // addresses or prefixes whose Client-Cert header counts
	ProxyProtocol  bool     `koanf:"proxy_protocol"`  // those proxies send the PROXY protocol instead
	ClientCert     string   `koanf:"client_cert"`     // in TLS: "request" (default), "require" or "none"
	TLSCert        string   `koanf:"tls_cert"`        // PEM certificate chain for this listener alone
	TLSKey         string   `koanf:"tls_key"`         // PEM key of it
}

// Routes are the groups of routes that a listener may serve. data: files and
// directories; auth: handshake and certificates; api: /api/v1 but for files;
// changes: the change feed; ops: /livez, /readyz, /metrics.
var Routes = []string{"data", "auth", "api", "changes", "ops"}

// Factors are what a request may have to carry.
var Factors = []string{"certificate", "basic", "token"}

// OpsOnly reports whether health and metrics are all that is served.
func (l *Listener) OpsOnly() bool { return len(l.Routes) == 1 && l.Routes[0] == "ops" }

// UnixPath returns the path of a Unix socket, or "" for an address of TCP.
func (l *Listener) UnixPath() string {
	path, _ := strings.CutPrefix(l.Address, "unix:")
	if path == l.Address {
		return ""
	}
	return path
}

// Listeners returns where the server is to listen: the [[listener]] tables,
// or what the short form in [server] stands for.
func (c *Config) Listeners() []Listener {
	if len(c.Listener) > 0 {
		return c.Listener
	}
	all := []Listener{{
		Address: c.Server.Listen, Factors: c.Server.Factors,
		TrustedProxies: c.Server.TrustedProxies, ProxyProtocol: c.Server.ProxyProtocol,
	}}
	if c.Server.OpsListen != "" {
		all = append(all, Listener{Address: c.Server.OpsListen, Routes: []string{"ops"}, Plain: true})
	}
	return all
}

// shortForm are the settings that a list of listeners takes the place of.
var shortForm = []string{"server.listen", "server.ops_listen", "server.factors", "server.trusted_proxies", "server.proxy_protocol"}

func (c *Config) validateListeners() error {
	var errs []error
	if (c.Server.TLSCert == "") != (c.Server.TLSKey == "") {
		errs = append(errs, fmt.Errorf("server.tls_cert and server.tls_key: give both or neither"))
	}
	if len(c.Listener) == 0 {
		return errors.Join(append(errs, c.Server.validate())...)
	}
	for _, key := range shortForm {
		if from := c.Sources[key]; from != "" && from != SourceDefault {
			errs = append(errs, fmt.Errorf("%s: the file has [[listener]], which takes its place: give one or the other", key))
		}
	}
	seen := map[string]int{}
	for i := range c.Listener {
		l := &c.Listener[i]
		where := fmt.Sprintf("listener %d", i+1)
		for _, err := range split(l.validate()) {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
		if first := seen[l.Address]; first > 0 && l.Address != "" {
			errs = append(errs, fmt.Errorf("%s: address %q is that of listener %d", where, l.Address, first))
		}
		seen[l.Address] = i + 1
	}
	return errors.Join(errs...)
}

// validate judges the short form, in the names of its settings.
func (s *Server) validate() error {
	errs := []error{factors("server.factors", s.Factors)}
	if len(s.Factors) == 0 {
		errs = append(errs, fmt.Errorf("server.factors: at least one of %v", Factors))
	}
	if !isAddress(s.Listen) {
		errs = append(errs, fmt.Errorf("server.listen: %q is no address such as :443 or 127.0.0.1:8443", s.Listen))
	}
	if s.OpsListen != "" && !isAddress(s.OpsListen) && !strings.HasPrefix(s.OpsListen, "unix:/") {
		errs = append(errs, fmt.Errorf("server.ops_listen: %q is no address such as 127.0.0.1:9443 or unix:/run/efs/ops.sock", s.OpsListen))
	}
	_, err := prefixes("server.trusted_proxies", s.TrustedProxies)
	return errors.Join(append(errs, err)...)
}

func (l *Listener) validate() error {
	errs := []error{factors("factors", l.Factors), l.validateTLS()}
	_, err := prefixes("trusted_proxies", l.TrustedProxies)
	errs = append(errs, err)
	if path := l.UnixPath(); path != "" {
		if !filepath.IsAbs(path) || !l.Plain {
			errs = append(errs, fmt.Errorf("address %q: a Unix socket needs an absolute path and plain = true", l.Address))
		}
	} else if !isAddress(l.Address) {
		errs = append(errs, fmt.Errorf("address %q is none such as :443, 127.0.0.1:8443 or unix:/run/efs/ops.sock", l.Address))
	}
	for _, r := range l.Routes {
		if !slices.Contains(Routes, r) {
			errs = append(errs, fmt.Errorf("routes: %q is none of %v%s", r, Routes, DidYouMean(r, Routes)))
		}
	}
	return errors.Join(errs...)
}

func (l *Listener) validateTLS() error {
	var errs []error
	add := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New(text))
		}
	}
	add((l.TLSCert == "") != (l.TLSKey == ""), "tls_cert and tls_key: give both or neither")
	add(l.Plain && (l.TLSCert != "" || l.ClientCert != ""), "plain: tls_cert, tls_key and client_cert are for TLS")
	add(l.Plain && !l.OpsOnly() && len(l.TrustedProxies) == 0,
		"plain: HTTP without TLS serves routes = [\"ops\"] alone, or requests from trusted_proxies, which must be named")
	add(l.Plain && l.ProxyProtocol, "plain: the PROXY protocol is for proxies that pass TLS through")
	add(l.ProxyProtocol && len(l.TrustedProxies) == 0, "proxy_protocol: name the proxies that send it in trusted_proxies")
	if l.ClientCert != "" {
		errs = append(errs, oneOf("client_cert", l.ClientCert, "request", "require", "none"))
	}
	demanded := len(l.Factors) == 0 || slices.Contains(l.Factors, "certificate")
	byHeader := len(l.TrustedProxies) > 0 && !l.ProxyProtocol
	add(l.ClientCert == "none" && demanded && !byHeader && !l.OpsOnly(), "client_cert: \"none\", but factors demand a certificate")
	return errors.Join(errs...)
}

func factors(key string, names []string) error {
	var errs []error
	for _, f := range names {
		if !slices.Contains(Factors, f) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %v%s", key, f, Factors, DidYouMean(f, Factors)))
		}
	}
	return errors.Join(errs...)
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

// Proxies returns TrustedProxies as prefixes; a lone address is a prefix of
// its whole length.
func (l *Listener) Proxies() ([]netip.Prefix, error) {
	return prefixes("trusted_proxies", l.TrustedProxies)
}

func prefixes(key string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range texts {
		if a, err := netip.ParseAddr(p); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(p)
		if err == nil && prefix.Bits() == 0 {
			return nil, fmt.Errorf("%s: %q is everybody, whose word on certificates and addresses would be taken: name the proxies", key, p)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no address or prefix such as 10.0.0.0/8", key, p)
		}
		out = append(out, prefix)
	}
	return out, nil
}
