package fsys

import (
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// sealing is how one new content is sealed: under which policy, with keys of
// which epoch.
type sealing struct {
	seal.Params
	policy int    // its version
	unit   efs.ID // zero: none
	epoch  int    // number; 0 if no epoch's keys are used
	used   *used  // counts it; nil: it was counted
}

// sealing says how a new content is sealed under the present policy, for the
// unit.
func (fs *FS) sealing(u *unit, content efs.ID) (*sealing, error) {
	policy := fs.policy.Load()
	epoch, recipients, err := fs.recipients(u, len(policy.Stages))
	if err != nil {
		return nil, fmt.Errorf("keys to seal with: %w", err)
	}
	s := &sealing{policy: policy.Version, unit: u.id(), epoch: epoch, used: fs.usage.of(policy.Version)}
	s.FS, s.Content, s.SegmentSize = fs.o.ID, content, policy.SegmentSize
	// The names were checked when the policy was set.
	s.Compression, _ = compression(policy.Compression)
	s.Padding, _ = padding(policy.Padding)
	s.Stages = make([]seal.Stage, len(recipients))
	for i := range recipients {
		s.Stages[i].Suite, _ = suite(policy.Stages[i].Algorithm)
		s.Stages[i].Recipients = recipients[i : i+1 : i+1]
	}
	return s, nil
}

// extent is the extent of a content that was sealed so, at the start of a file.
func (s *sealing) extent(info seal.Info, inline bool) efs.Extent {
	if s.used != nil {
		s.used.sealedOne(info.Size)
		s.used = nil
	}
	return efs.Extent{
		Length: info.Size, Sealed: info.SealedSize, Content: s.Content,
		Inline: inline, Policy: s.policy, Epoch: s.epoch,
	}
}

// recipients returns whom a content is sealed for: the newest epoch, or the
// unit.
func (fs *FS) recipients(u *unit, stages int) (epoch int, r []seal.Recipient, err error) {
	if u == nil {
		return fs.o.Keys.Sealing(stages)
	}
	r, err = u.key.Sealing(stages)
	return 0, r, err
}
