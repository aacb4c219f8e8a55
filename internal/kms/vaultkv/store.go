package vaultkv

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/kms/vaultconn"
)

// vault is the secrets of a path in a KV engine, version 2.
type vault struct {
	conn        *vaultconn.Conn
	mount, path string
}

// errChanged is the error of a write that expected another revision.
var errChanged = errors.New("changed meanwhile")

func (v vault) data(id string) string { return v.mount + "/data/" + v.path + "/" + id }
func (v vault) metadata(id string) string {
	return v.mount + "/metadata/" + v.path + "/" + id
}

// get reads a secret and its revision. efs.ErrNotFound also for one whose
// newest revision was deleted.
func (v vault) get(ctx context.Context, id string) (*stored, int, error) {
	var answer struct {
		Data struct {
			Data     *stored `json:"data"`
			Metadata struct {
				Version int `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	err := v.conn.Do(ctx, http.MethodGet, v.data(id), nil, &answer)
	switch {
	case errors.Is(err, efs.ErrNotFound), err == nil && answer.Data.Data == nil:
		return nil, 0, fmt.Errorf("%w: Vault has no master key %s at %s/%s", efs.ErrNotFound, id, v.mount, v.path)
	case err != nil:
		return nil, 0, fmt.Errorf("reading master key %s from Vault: %w", id, err)
	}
	return answer.Data.Data, answer.Data.Metadata.Version, nil
}

// put writes a secret if its revision is still the given one (0: it is new),
// and returns the next. errChanged.
func (v vault) put(ctx context.Context, id string, s *stored, revision int) (int, error) {
	in := struct {
		Options map[string]int `json:"options"`
		Data    *stored        `json:"data"`
	}{map[string]int{"cas": revision}, s}
	var answer struct {
		Data struct {
			Version int `json:"version"`
		} `json:"data"`
	}
	err := v.conn.Do(ctx, http.MethodPost, v.data(id), in, &answer)
	var e *vaultconn.Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && e.Says("check-and-set") {
		return 0, errChanged
	}
	if err != nil {
		return 0, fmt.Errorf("writing master key %s to Vault: %w", id, err)
	}
	return answer.Data.Version, nil
}

// destroy removes a secret with all its revisions, and what is known of it.
func (v vault) destroy(ctx context.Context, id string) error {
	err := v.conn.Do(ctx, http.MethodDelete, v.metadata(id), nil, nil)
	if err != nil && !errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("deleting master key %s from Vault: %w", id, err)
	}
	return nil
}

// list returns the names of all secrets, also deleted ones.
func (v vault) list(ctx context.Context) ([]string, error) {
	var answer struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	err := v.conn.Do(ctx, vaultconn.List, v.mount+"/metadata/"+v.path, nil, &answer)
	var e *vaultconn.Error
	if errors.Is(err, efs.ErrNotFound) && !(errors.As(err, &e) && e.Says("no handler for route")) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the master keys in Vault: %w", err)
	}
	return answer.Data.Keys, nil
}

// fetch reads a master key, in whatever state it is. One whose deletion is due
// is deleted and not found.
func (k *KMS) fetch(ctx context.Context, id string) (*master, error) {
	if masterkey.CheckID(id) != nil {
		return nil, fmt.Errorf("%w: Vault has no master key %q", efs.ErrNotFound, id)
	}
	asked := k.now()
	s, revision, err := k.get(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.load(id)
	if err != nil {
		return nil, err
	}
	m.revision, m.fetched = revision, asked
	if !m.due(asked) {
		return m, nil
	}
	defer m.wipe()
	if err := k.destroy(ctx, id); err != nil {
		k.log.Warn("a master key that is to be gone could not be deleted", "provider", k.name, "key", id, "err", err)
	} else {
		k.log.Info("a master key was deleted, as planned", "provider", k.name, "key", id)
	}
	return nil, fmt.Errorf("%w: master key %s was to be deleted at %s, with all that it wrapped", efs.ErrNotFound, id, m.deleteAt)
}

// change applies fn to a master key as Vault has it, and stores it if nobody
// else changed it meanwhile; else once more.
func (k *KMS) change(ctx context.Context, id string, fn func(*master) error) (efs.KeyInfo, error) {
	for range 20 {
		m, err := k.fetch(ctx, id)
		if err != nil {
			return efs.KeyInfo{}, err
		}
		if err := fn(m); err != nil {
			m.wipe()
			return efs.KeyInfo{}, err
		}
		info, err := k.save(ctx, id, m)
		if !errors.Is(err, errChanged) {
			return info, err
		}
	}
	return efs.KeyInfo{}, fmt.Errorf("%w: master key %s is changed by others all the time", efs.ErrUnavailable, id)
}

// save stores a changed master key and keeps it for use, or wipes it: whether
// a write that was not answered took place shows when Vault is asked again.
func (k *KMS) save(ctx context.Context, id string, m *master) (efs.KeyInfo, error) {
	s, err := m.store()
	if err != nil {
		m.wipe()
		return efs.KeyInfo{}, err
	}
	defer s.wipe()
	if m.revision, err = k.put(ctx, id, s, m.revision); err != nil {
		m.wipe()
		k.forget(id)
		return efs.KeyInfo{}, err
	}
	info := m.info(k.name, id)
	k.keep(id, m)
	return info, nil
}
