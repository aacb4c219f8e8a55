// Package vaultconn is a connection to a HashiCorp Vault for the providers
// that keep keys in one: TLS, login, renewal of EFS's own token, and what
// Vault's answers mean as errors of package efs.
package vaultconn

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
)

// The ways in which EFS makes itself known to Vault.
const (
	AuthToken      = "token"      // a token that somebody else made, read from a file or VAULT_TOKEN
	AuthAppRole    = "approle"    // a role id and a secret id
	AuthKubernetes = "kubernetes" // the token of the pod's service account
)

// Config says where a Vault is and how to log in to it.
type Config struct {
	Address      string `koanf:"address"`        // https://HOST:PORT; http:// only to this machine
	Namespace    string `koanf:"namespace"`      // of Vault Enterprise; empty for none
	CAFile       string `koanf:"ca_file"`        // PEM; the system's authorities if empty
	ClientCert   string `koanf:"client_cert"`    // PEM, where Vault's listener demands one
	ClientKey    string `koanf:"client_key"`     // PEM
	Auth         string `koanf:"auth"`           // token, approle or kubernetes
	AuthMount    string `koanf:"auth_mount"`     // where the auth method is mounted; its name if empty
	TokenFile    string `koanf:"token_file"`     // token: read at each login; the environment's VAULT_TOKEN if empty
	RoleID       string `koanf:"role_id"`        // approle
	SecretIDFile string `koanf:"secret_id_file"` // approle: read at each login
	Role         string `koanf:"role"`           // kubernetes
	JWTFile      string `koanf:"jwt_file"`       // kubernetes: read at each login; the pod's own if empty
}

const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Validate reports everything in c that cannot hold, without asking Vault.
func (c Config) Validate() error {
	errs := []error{c.validAddress()}
	if (c.ClientCert == "") != (c.ClientKey == "") {
		errs = append(errs, errors.New("client_cert and client_key go together: give both or neither"))
	}
	need := func(name, value string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("auth = %q needs %s", c.Auth, name))
		}
	}
	switch c.Auth {
	case AuthToken:
		if c.TokenFile == "" && os.Getenv("VAULT_TOKEN") == "" {
			errs = append(errs, errors.New(`auth = "token" needs token_file, or VAULT_TOKEN in the environment`))
		}
	case AuthAppRole:
		need("role_id", c.RoleID)
		need("secret_id_file", c.SecretIDFile)
	case AuthKubernetes:
		need("role", c.Role)
	default:
		errs = append(errs, fmt.Errorf("auth = %q: it is %q, %q or %q", c.Auth, AuthToken, AuthAppRole, AuthKubernetes))
	}
	return errors.Join(errs...)
}

func (c Config) validAddress() error {
	u, err := url.Parse(c.Address)
	switch {
	case c.Address == "":
		return errors.New("address is missing: https://HOST:8200")
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || (u.Path != "" && u.Path != "/"):
		return fmt.Errorf("address = %q is not of the form https://HOST:PORT", c.Address)
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("address = %q: only https (and http to this machine) is spoken", c.Address)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address = %q: keys would cross the network in the clear: use https", c.Address)
	}
	return nil
}

func (c Config) authMount() string { return cmp.Or(c.AuthMount, c.Auth) }

// tlsConfig trusts CAFile alone, if there is one. The client's certificate is
// read anew at each handshake, so that it can be exchanged.
func (c Config) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM", c.CAFile)
		}
	}
	if c.ClientCert == "" {
		return t, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client_cert %s with client_key %s: %w", c.ClientCert, c.ClientKey, err)
		}
		return &cert, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	t.GetClientCertificate = load
	return t, nil
}
