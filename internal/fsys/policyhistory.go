package fsys

import (
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// metaIntended is the key in SpaceMeta of a policy whose keys are being made.
const metaIntended = 'P'

func intendedKey() []byte { return []byte{metaIntended} }

// policyRecord is a policy in SpaceMeta. Those of before there were histories
// have neither time nor user.
type policyRecord struct {
	efs.Policy
	Changed int64  `cbor:"16,keyasint,omitempty"` // Unix time, microseconds
	User    string `cbor:"17,keyasint,omitempty"` // who set it; "": an administrator of the server
}

// PolicyVersion is a policy as it was once in force.
type PolicyVersion struct {
	efs.Policy
	Changed time.Time `json:"changed"`        // when it came into force
	User    string    `json:"user,omitempty"` // who set it; "": an administrator of the server
}

// PolicyHistory returns all policies of the file system, the first one first.
// The last is in force.
func (fs *FS) PolicyHistory(ctx context.Context) ([]PolicyVersion, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	var all []PolicyVersion
	err := fs.scan(ctx, efs.SpaceMeta, []byte{metaPolicy}, scanPage, func(r *efs.Record) error {
		var p policyRecord
		if err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &p); err != nil {
			return fmt.Errorf("policy of file system '%s': %w", fs.o.Name, err)
		}
		if p.Changed == 0 {
			p.Changed = fs.created
		}
		all = append(all, PolicyVersion{Policy: p.Policy, Changed: time.UnixMicro(p.Changed).UTC(), User: p.User})
		return nil
	})
	return all, err
}
