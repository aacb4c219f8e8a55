package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/efs-project/efs"
)

// NoteStore is a KMS that keeps more than keys: short notes under names.
type NoteStore interface {
	// PutNote replaces a note; durable on return.
	PutNote(ctx context.Context, folder, name string, text []byte) error
	// Notes returns every note of a folder; none if there is no such folder.
	Notes(ctx context.Context, folder string) ([][]byte, error)
}

// NoteSink keeps the newest head of the log, and of each index, in a KMS:
// whoever puts the volume back does not reach it.
type NoteSink struct {
	provider string
	store    NoteStore
	root     efs.ID
}

// NewNoteSink returns a sink to the KMS called provider, for the server with
// the given root.
func NewNoteSink(provider string, store NoteStore, root efs.ID) *NoteSink {
	return &NoteSink{provider, store, root}
}

// Name is "kms:PROVIDER".
func (s *NoteSink) Name() string { return "kms:" + s.provider }

// PutHead replaces the head that was kept of the same log or index.
func (s *NoteSink) PutHead(ctx context.Context, line []byte) error {
	name := "audit"
	if bytes.HasPrefix(line, []byte(`{"v":1,"kind":"index"`)) {
		var h struct {
			FS efs.ID `json:"fs"`
		}
		if err := json.Unmarshal(line, &h); err != nil {
			return fmt.Errorf("keeping a head: %w", err)
		}
		name = "index-" + h.FS.String()
	}
	if err := s.store.PutNote(ctx, s.root.String(), name, line); err != nil {
		return fmt.Errorf("keeping a head in KMS %s: %w", s.provider, err)
	}
	return nil
}

// Heads returns what is kept. Signatures are for the caller to check.
func (s *NoteSink) Heads() ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sinkTime)
	defer cancel()
	all, err := s.store.Notes(ctx, s.root.String())
	if err != nil {
		return nil, fmt.Errorf("reading kept heads from KMS %s: %w", s.provider, err)
	}
	return all, nil
}
