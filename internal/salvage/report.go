package salvage

import (
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
)

// Report tells what came out, and what did not.
type Report struct {
	FS       string    `json:"fs"`
	ID       efs.ID    `json:"fs_id"`
	Source   Source    `json:"source"`
	Sequence uint64    `json:"sequence"`      // of the last change that the source tells of; 0: not known
	Time     time.Time `json:"time,omitzero"` // when the source was that far
	Whole    bool      `json:"whole"`         // the source is the newest, and nothing of what it tells of is missing

	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Symlinks    int64 `json:"symlinks"`
	Bytes       int64 `json:"bytes"`     // of contents
	Recovered   int64 `json:"recovered"` // files that only their contents tell of
	Forgotten   int64 `json:"forgotten"` // entries of erasure units whose keys were destroyed on purpose

	RecoveredIn string `json:"recovered_in,omitempty"` // where those are: recovered, or what the tree does not have

	Missing []Missing `json:"missing"`
	Notes   []string  `json:"notes"`
}

// Missing is something that could not be recovered, or not whole.
type Missing struct {
	Path   string          `json:"path"`
	Why    string          `json:"why"`
	Ranges []archive.Range `json:"ranges,omitempty"` // that are lost; none: all
	Size   int64           `json:"size,omitempty"`
}

// String tells it to people.
func (m Missing) String() string {
	if len(m.Ranges) == 0 {
		return fmt.Sprintf("%s: %s", m.Path, m.Why)
	}
	var parts []string
	for _, r := range m.Ranges {
		parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To-1))
	}
	return fmt.Sprintf("%s: bytes %s of %d are lost (%s)", m.Path, strings.Join(parts, ", "), m.Size, m.Why)
}
