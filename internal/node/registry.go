package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/starter"
)

// phase is how far a file system's life has come. It is recorded before the
// step is taken, so that the next start knows what a crash cut off.
type phase string

const (
	phaseCreating  phase = "creating" // undone at the next start
	phaseReady     phase = "ready"
	phaseRestoring phase = "restoring" // from a backup; what was begun is removed at the next start
	phaseDeleting  phase = "deleting"  // its keys are gone or going; finished at the next start
)

// fsRecord is one file system in the registry.
type fsRecord struct {
	ID      efs.ID    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Phase   phase     `json:"phase"`
	Was     phase     `json:"was,omitempty"` // before it was restoring
}

// registry is the set of file systems: a secret in the Box, so that nobody
// adds, removes or renames one by writing to a volume.
type registry struct {
	box *starter.Box

	mu      sync.Mutex
	records []fsRecord // by name
}

const registryName = "filesystems"

// openRegistry reads the list of file systems. It is the first secret that a
// new Box gets, so where others are and it is not, somebody took it away: that
// is damage, and not a root without file systems.
func openRegistry(box *starter.Box) (*registry, error) {
	r := &registry{box: box}
	b, err := box.Get(registryName)
	if errors.Is(err, efs.ErrNotFound) {
		names, err := box.Names()
		if err != nil {
			return nil, fmt.Errorf("reading the list of file systems: %w", err)
		}
		if len(names) > 0 {
			return nil, fmt.Errorf("the list of file systems, %s/sealed/%s.sealed, is missing: put it back from a backup: %w",
				serverDir, registryName, efs.ErrDamaged)
		}
		return r, r.save(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of file systems: %w", err)
	}
	if err := json.Unmarshal(b, &r.records); err != nil {
		return nil, fmt.Errorf("reading the list of file systems: %v: %w", err, efs.ErrDamaged)
	}
	return r, nil
}

// all returns every record, by name.
func (r *registry) all() []fsRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func (r *registry) get(name string) (fsRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if rec.Name == name {
			return rec, true
		}
	}
	return fsRecord{}, false
}

// put adds rec or replaces the one of its name, durably.
func (r *registry) put(rec fsRecord) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(r.records), func(x fsRecord) bool { return x.Name == rec.Name })
	return r.save(append(next, rec))
}

// drop removes the record of name, durably.
func (r *registry) drop(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.save(slices.DeleteFunc(slices.Clone(r.records), func(x fsRecord) bool { return x.Name == name }))
}

// save writes records. Called with r.mu held, or before r is shared.
func (r *registry) save(records []fsRecord) error {
	slices.SortFunc(records, func(a, b fsRecord) int { return strings.Compare(a.Name, b.Name) })
	b, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("writing the list of file systems: %w", err)
	}
	if err := r.box.Put(registryName, b); err != nil {
		return fmt.Errorf("writing the list of file systems: %w", err)
	}
	r.records = records
	return nil
}
