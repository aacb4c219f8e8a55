package fsys

import (
	"errors"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// A policy that a newer release wrote may ask for what this one does not do:
// it is refused, not followed in part.
func TestAPolicyWithUnknownSettingsIsRefused(t *testing.T) {
	known := policyRecord{Policy: efs.DefaultPolicy(), Changed: 1, User: "u"}
	b, err := detcbor.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	var got policyRecord
	if err := decodeRecord(b, &got); err != nil || got.User != "u" || !samePolicy(got.Policy, known.Policy) {
		t.Errorf("one of this release: %+v, %v", got, err)
	}
	b, err = detcbor.Marshal(struct {
		policyRecord
		Future string `cbor:"99,keyasint"`
	}{known, "what nobody knows yet"})
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeRecord(b, &got); !errors.Is(err, efs.ErrUnsupported) || !strings.Contains(err.Error(), "newer EFS, start that one") {
		t.Errorf("one of a newer release: %v", err)
	}
	if err := decodeRecord([]byte("garbage"), &got); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("garbage: %v", err)
	}
}
