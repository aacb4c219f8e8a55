package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/knadh/koanf/parsers/toml/v2"
)

const policyHead = "# How this file system seals what is stored in it. A copy for people: what\n" +
	"# holds is sealed in the index. Changing this file changes nothing and is\n" +
	"# reported when the server starts.\n\n"

// policyText is fs.toml.
func (f *FileSystem) policyText() ([]byte, error) {
	p := f.Policy()
	stages := make([]any, 0, len(p.Stages))
	for _, s := range p.Stages {
		stages = append(stages, map[string]any{"algorithm": s.Algorithm, "provider": s.Provider, "kms_key_id": s.KeyID})
	}
	layout := f.Layout()
	policy := map[string]any{
		"version": p.Version, "stages": stages, "compression": p.Compression, "padding": p.Padding,
		"inline_limit": p.InlineLimit, "segment_size": p.SegmentSize, "fan_out": layout.FanOut, "erasure_unit": p.ErasureUnit,
	}
	if p.Recovery != "" {
		policy["recovery_recipient"] = p.Recovery
	}
	b, err := toml.Parser().Marshal(map[string]any{
		"name": f.Name(), "id": f.ID().String(), "policy": policy,
	})
	if err != nil {
		return nil, fmt.Errorf("writing fs.toml: %w", err)
	}
	return append([]byte(policyHead), b...), nil
}

func (f *FileSystem) policyPath() string { return filepath.Join(f.parts.places.system, "fs.toml") }

func (f *FileSystem) writePolicyExport() error {
	text, err := f.policyText()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(f.policyPath(), text, 0o644); err != nil {
		return fmt.Errorf("writing fs.toml: %w", err)
	}
	return nil
}

func (f *FileSystem) checkPolicyExport() error {
	want, err := f.policyText()
	if err != nil {
		return err
	}
	have, err := os.ReadFile(f.policyPath())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is missing: written again", f.policyPath())
	case err != nil:
		return fmt.Errorf("reading fs.toml: %w", err)
	case !bytes.Equal(have, want):
		return fmt.Errorf("%s is not what this server wrote and was not followed: written again: %w", f.policyPath(), efs.ErrDamaged)
	}
	return nil
}
