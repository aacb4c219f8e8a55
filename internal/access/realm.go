package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// Secrets keeps sealed secrets, each replaced as a whole; *starter.Box.
type Secrets interface {
	Get(name string) ([]byte, error) // efs.ErrNotFound
	Put(name string, value []byte) error
}

// realmSecret is the name of the secret that holds the server's own realm.
const realmSecret = "realm"

// OpenRealm opens the directory of the server's own realm: its administrators,
// and who holds grants on keys. It makes one where there is none.
func OpenRealm(ctx context.Context, box Secrets) (*Directory, error) {
	store := &boxStore{box: box}
	d, err := Open(ctx, efs.ServerRealm, store)
	if errors.Is(err, efs.ErrNotFound) {
		return Create(ctx, efs.ServerRealm, store)
	}
	return d, err
}

// boxStore is a Store in one secret: the few records of a server's own realm,
// sealed under the starter key. A secret is replaced by renaming, so that a
// commit is there wholly or not at all.
type boxStore struct {
	box Secrets
	mu  sync.Mutex
}

// realmDoc is what the secret holds.
type realmDoc struct {
	Format  int           `cbor:"1,keyasint"`
	Version uint64        `cbor:"2,keyasint"` // of the last commit
	Records []realmRecord `cbor:"3,keyasint"` // by kind and name
}

type realmRecord struct {
	Kind    string `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"`
	Value   []byte `cbor:"3,keyasint"`
	Version uint64 `cbor:"4,keyasint"`
}

func (r realmRecord) compare(o realmRecord) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Name, o.Name))
}

func (doc *realmDoc) find(kind, name string) (int, bool) {
	return slices.BinarySearchFunc(doc.Records, realmRecord{Kind: kind, Name: name}, realmRecord.compare)
}

func (s *boxStore) load() (*realmDoc, error) {
	b, err := s.box.Get(realmSecret)
	if errors.Is(err, efs.ErrNotFound) {
		return &realmDoc{Format: recordVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the server's administrators: %w", err)
	}
	defer clear(b)
	doc := new(realmDoc)
	if err := detcbor.Unmarshal(b, doc); err != nil || doc.Format != recordVersion {
		return nil, fmt.Errorf("the server's administrators cannot be read: %w", unreadable(b, recordVersion))
	}
	return doc, nil
}

// AccessGet returns a record.
func (s *boxStore) AccessGet(_ context.Context, kind, name string) ([]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, err := s.load()
	if err != nil {
		return nil, 0, err
	}
	i, ok := doc.find(kind, name)
	if !ok {
		return nil, 0, fmt.Errorf("%s %q: %w", kind, name, efs.ErrNotFound)
	}
	return doc.Records[i].Value, doc.Records[i].Version, nil
}

// AccessList returns records of a kind by name.
func (s *boxStore) AccessList(_ context.Context, kind, after string, limit int) (list []efs.AccessRecord, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, err := s.load()
	if err != nil {
		return nil, err
	}
	for _, r := range doc.Records {
		if r.Kind == kind && r.Name > after && len(list) < limit {
			list = append(list, efs.AccessRecord{Name: r.Name, Value: r.Value, Version: r.Version})
		}
	}
	return list, nil
}

// AccessCommit applies all of muts or none.
func (s *boxStore) AccessCommit(_ context.Context, muts []efs.AccessMutation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, err := s.load()
	if err != nil {
		return err
	}
	doc.Version++
	for _, m := range muts {
		i, ok := doc.find(m.Kind, m.Name)
		if ok && doc.Records[i].Version != m.Version || !ok && m.Version != 0 {
			return fmt.Errorf("%s %q: %w", m.Kind, m.Name, efs.ErrConflict)
		}
		next := []realmRecord{{m.Kind, m.Name, m.Value, doc.Version}}
		if m.Value == nil {
			next = nil
		}
		end := i
		if ok {
			end++
		}
		doc.Records = slices.Replace(doc.Records, i, end, next...)
	}
	b, err := detcbor.MarshalSecret(doc)
	if err != nil {
		return fmt.Errorf("encoding the server's administrators: %w", err)
	}
	defer clear(b)
	if err := s.box.Put(realmSecret, b); err != nil {
		return fmt.Errorf("storing the server's administrators: %w", err)
	}
	return nil
}
