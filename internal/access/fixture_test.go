package access

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/userkey"
)

// memory is a Store without a disk, which can be told to fail.
type memory struct {
	mu        sync.Mutex
	records   map[string]efs.AccessRecord // by kind/name
	version   uint64
	fail      error
	failAfter error  // returned after storing
	before    func() // called once, before the next commit looks at versions
}

func newMemory() *memory { return &memory{records: map[string]efs.AccessRecord{}} }

func (m *memory) AccessGet(_ context.Context, kind, name string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[kind+"/"+name]
	if !ok {
		return nil, 0, efs.ErrNotFound
	}
	return slices.Clone(r.Value), r.Version, nil
}

func (m *memory) AccessList(_ context.Context, kind, after string, limit int) (list []efs.AccessRecord, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(m.records)) {
		if name, ok := strings.CutPrefix(k, kind+"/"); ok && name > after && len(list) < limit {
			list = append(list, m.records[k])
		}
	}
	return list, nil
}

func (m *memory) AccessCommit(_ context.Context, muts []efs.AccessMutation) error {
	if before := m.before; before != nil {
		m.before = nil
		before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, mut := range muts {
		if m.records[mut.Kind+"/"+mut.Name].Version != mut.Version {
			return efs.ErrConflict
		}
	}
	m.version++
	for _, mut := range muts {
		if key := mut.Kind + "/" + mut.Name; mut.Value == nil {
			delete(m.records, key)
		} else {
			m.records[key] = efs.AccessRecord{Name: mut.Name, Value: slices.Clone(mut.Value), Version: m.version}
		}
	}
	return m.failAfter
}

var ctx = context.Background()

func newDirectory(t testing.TB) (*Directory, *memory) {
	t.Helper()
	store := newMemory()
	d, err := Create(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	return d, store
}

func newPublic(t testing.TB) *userkey.Public {
	t.Helper()
	_, pub, err := userkey.Generate("someone")
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func create(t testing.TB, d *Directory, name string) *Issued {
	t.Helper()
	issued, err := d.CreateUser(ctx, name, newPublic(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// newCSR is a certificate request for somebody else, as far as it goes.
func newCSR(t testing.TB) []byte {
	t.Helper()
	key, _, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{}
	template.Subject.CommonName = "somebody else"
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
