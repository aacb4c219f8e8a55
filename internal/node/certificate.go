package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/starter"
)

// renewEvery is how often the server looks whether its certificate, or the
// one it was given, is to be replaced.
const renewEvery = time.Hour

// pair is a certificate and its key in PEM form, as the Box keeps them.
type pair struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// serverTLS is the certificate that the server shows: one from its own
// authority, made at first start and renewed before it ends, or one from
// files that the operator gave, read again when they change.
type serverTLS struct {
	cfg     *Config
	box     *starter.Box
	clock   func() time.Time
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // guards what follows
	ca     *pki.CA
	former *formerAuthority // nil: none
}

func openServerTLS(cfg *Config, box *starter.Box, clock func() time.Time) (*serverTLS, error) {
	t := &serverTLS{cfg: cfg, box: box, clock: clock}
	ca, err := loadOrMakeCA(box, "server-ca", newServerCA)
	if err != nil {
		return nil, fmt.Errorf("the server's certificate authority: %w", err)
	}
	t.ca = ca
	if t.former, err = loadFormer(box, ca); err != nil {
		return nil, fmt.Errorf("the server's former certificate authority: %w", err)
	}
	return t, t.refresh()
}

// refresh puts the certificate in place that is to be shown from now on: of
// the former authority as long as that is to be shown.
func (t *serverTLS) refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cfg.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(t.cfg.TLSCert, t.cfg.TLSKey)
		if err != nil {
			return fmt.Errorf("reading the given TLS certificate: %w", err)
		}
		t.current.Store(&cert)
		return nil
	}
	if cert := t.stored(); cert != nil && t.fits(cert.Leaf) {
		t.current.Store(cert)
		return nil
	}
	cert, err := t.issue()
	if err != nil {
		return err
	}
	t.current.Store(cert)
	return nil
}

// stored returns the certificate in the Box, or nil if there is no usable one.
func (t *serverTLS) stored() *tls.Certificate {
	b, err := t.box.Get("server-tls")
	if err != nil {
		return nil
	}
	defer clear(b)
	var p pair
	if json.Unmarshal(b, &p) != nil {
		return nil
	}
	defer clear(p.Key)
	cert, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil
	}
	return &cert
}

// fits reports whether cert is of the present authority, names every host
// that is wanted, and has a third of its life before it.
func (t *serverTLS) fits(cert *x509.Certificate) bool {
	third := cert.NotAfter.Sub(cert.NotBefore) / 3
	if !t.ca.Signed(cert) && !t.former.signs(cert, t.clock()) || t.clock().After(cert.NotAfter.Add(-third)) {
		return false
	}
	for _, host := range t.hosts() {
		if cert.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

// hosts are the names that the certificate carries: those configured, the
// machine's own, and loopback.
func (t *serverTLS) hosts() []string {
	hosts := slices.Clone(t.cfg.Hostnames)
	if name, err := os.Hostname(); err == nil && plainHost(name) {
		hosts = append(hosts, name)
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// plainHost reports whether a machine's name can stand in a certificate;
// names with underscores, which some machines have, cannot.
func plainHost(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' {
			return false
		}
	}
	return name != "" && name[0] != '-' && name[0] != '.' && name[len(name)-1] != '.'
}

func (t *serverTLS) issue() (*tls.Certificate, error) {
	key, keyPEM, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	defer clear(keyPEM)
	certPEM, _, err := t.ca.IssueServer(t.hosts(), key.Public(), pki.ServerTTL)
	if err != nil {
		return nil, err
	}
	chain := slices.Concat(certPEM, t.ca.PEM())
	cert, err := tls.X509KeyPair(chain, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the new server certificate: %w", err)
	}
	b, err := json.Marshal(pair{chain, keyPEM})
	if err != nil {
		return nil, fmt.Errorf("keeping the server certificate: %w", err)
	}
	defer clear(b)
	if err := t.box.Put("server-tls", b); err != nil {
		return nil, fmt.Errorf("keeping the server certificate: %w", err)
	}
	return &cert, nil
}

// export writes ca.crt and server.crt for people to take to their clients,
// and returns what did not fit: a ca.crt that somebody replaced would make
// clients trust another server.
func (t *serverTLS) export() (problems []string) {
	files := map[string][]byte{"ca.crt": t.caPEM(), "server.crt": t.chainPEM()}
	for _, name := range []string{"ca.crt", "server.crt"} {
		path := filepath.Join(t.cfg.serverDir(), name)
		there, err := os.ReadFile(path)
		if err == nil && bytes.Equal(there, files[name]) {
			continue
		}
		if err == nil && name == "ca.crt" && !t.wrote(there) {
			problems = append(problems, fmt.Sprintf("%s was not what this server wrote: replaced by the right one; check clients that were given a copy", path))
		}
		if err := atomicfile.Write(path, files[name], 0o644); err != nil {
			problems = append(problems, fmt.Sprintf("writing %s: %v", path, err))
		}
	}
	return problems
}

// caPEM is what clients are to trust: the server's own authority, or the given
// certificate's chain beyond its first, or itself where it stands alone.
func (t *serverTLS) caPEM() []byte {
	if t.cfg.TLSCert == "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		out := t.ca.PEM()
		if t.former != nil && t.clock().Before(t.former.until) {
			out = append(out, pki.EncodeCertificate(t.former.cert)...)
		}
		return out
	}
	chain := t.current.Load().Certificate
	if len(chain) > 1 {
		chain = chain[1:]
	}
	return encodeChain(chain)
}

func (t *serverTLS) chainPEM() []byte { return encodeChain(t.current.Load().Certificate) }

func encodeChain(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// ReloadCertificate reads the given certificate's files again, or looks whether
// the server's own is to be replaced. Connections that are open go on with what
// they have seen. efs.ErrSealed while the node has no keys.
func (n *Node) ReloadCertificate() error {
	v := n.secrets()
	if v == nil {
		return fmt.Errorf("the server's certificate: %w", efs.ErrSealed)
	}
	if err := v.tls.refresh(); err != nil {
		return err
	}
	for _, p := range v.tls.export() {
		n.log.Warn("exporting the server's certificate: " + p)
	}
	return nil
}

// watch renews until ctx ends.
func (t *serverTLS) watch(ctx context.Context, report func(string, error)) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := t.current.Load()
		if err := t.refresh(); err != nil {
			report("renewing the server's certificate", err)
			continue
		}
		if after := t.current.Load(); !bytes.Equal(before.Certificate[0], after.Certificate[0]) {
			for _, p := range t.export() {
				report("exporting the renewed certificate", errors.New(p))
			}
		}
	}
}

// loadOrMakeCA returns the authority kept in the Box under name, making it
// where there is none.
func loadOrMakeCA(box *starter.Box, name string, create func() (cert, key []byte, err error)) (*pki.CA, error) {
	ca, err := loadCA(box, name)
	if errors.Is(err, efs.ErrNotFound) {
		return makeCA(box, name, create)
	}
	return ca, err
}

// loadCA returns the authority kept in the Box under name. efs.ErrNotFound.
func loadCA(box *starter.Box, name string) (*pki.CA, error) {
	b, err := box.Get(name)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	var p pair
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%v: %w", err, efs.ErrDamaged)
	}
	defer clear(p.Key)
	return pki.LoadCA(p.Cert, p.Key)
}

// makeCA makes an authority and keeps it in the Box under name.
func makeCA(box *starter.Box, name string, create func() (cert, key []byte, err error)) (*pki.CA, error) {
	cert, key, err := create()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	b, err := json.Marshal(pair{cert, key})
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if err := box.Put(name, b); err != nil {
		return nil, err
	}
	return pki.LoadCA(cert, key)
}
