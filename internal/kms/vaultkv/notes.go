package vaultkv

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/vaultconn"
)

// notes are the secrets beside those of master keys, at PATH-heads.
func (v vault) notes(kind, folder string) string {
	return v.mount + "/" + kind + "/" + v.path + "-heads/" + folder
}

type note struct {
	Text string `json:"text"`
}

// PutNote keeps a text that is no key under a name; earlier ones stay as
// earlier versions of the secret, as many as Vault is told to keep.
func (k *KMS) PutNote(ctx context.Context, folder, name string, text []byte) error {
	in := struct {
		Data note `json:"data"`
	}{note{string(text)}}
	if err := k.conn.Do(ctx, http.MethodPost, k.notes("data", folder)+"/"+name, in, nil); err != nil {
		return fmt.Errorf("writing %s to Vault: %w", name, err)
	}
	return nil
}

// Notes returns what PutNote kept in a folder, of each name the newest.
func (k *KMS) Notes(ctx context.Context, folder string) ([][]byte, error) {
	var names struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	err := k.conn.Do(ctx, vaultconn.List, k.notes("metadata", folder), nil, &names)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing what was kept in Vault: %w", err)
	}
	var out [][]byte
	for _, name := range names.Data.Keys {
		var answer struct {
			Data struct {
				Data *note `json:"data"`
			} `json:"data"`
		}
		err := k.conn.Do(ctx, http.MethodGet, k.notes("data", folder)+"/"+name, nil, &answer)
		switch {
		case errors.Is(err, efs.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("reading %s from Vault: %w", name, err)
		case answer.Data.Data != nil:
			out = append(out, []byte(answer.Data.Data.Text))
		}
	}
	return out, nil
}
