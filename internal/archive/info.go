package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// version is that of the format. A reader refuses others.
const version = 1

// The kinds of failure. Those of package seal come through as they are.
var (
	// ErrFormat: authentic, but no archive, or one that breaks its rules.
	ErrFormat = errors.New("not an EFS archive")

	// ErrUnsupported: an archive of a later version.
	ErrUnsupported = errors.New("unsupported archive")

	// ErrDamaged: contents do not have the digest that the archive tells.
	ErrDamaged = errors.New("archive is damaged")
)

// Info is the head of an archive: of what it was made, and when.
type Info struct {
	FS       string    // name of the file system
	FSID     string    // its id
	Path     string    // of the directory that is the archive's root: "/" for all of it
	Sequence uint64    // the archive is the file system after this change, and before the next
	Since    uint64    // it holds what changed after this change; 0: everything
	Created  time.Time // when it was begun

	mark string // names the archive in the places of its members
}

// head is the line of JSON that the global header carries.
type head struct {
	Version  int       `json:"efs_archive"`
	FS       string    `json:"fs"`
	FSID     string    `json:"fs_id"`
	Path     string    `json:"path"`
	Sequence uint64    `json:"sequence"`
	Since    uint64    `json:"since"`
	Created  time.Time `json:"created"`
	Mark     string    `json:"mark"`
}

func (i *Info) line() (string, error) {
	b, err := json.Marshal(head{version, i.FS, i.FSID, i.Path, i.Sequence, i.Since, i.Created.UTC(), i.mark})
	return string(b), err
}

func parseInfo(line string) (Info, error) {
	var h head
	if err := json.Unmarshal([]byte(line), &h); err != nil || h.Version == 0 {
		return Info{}, fmt.Errorf("%w: its tar does not begin with the head of one", ErrFormat)
	}
	if h.Version != version {
		return Info{}, fmt.Errorf("%w: it has version %d, this reads version %d: use a newer release", ErrUnsupported, h.Version, version)
	}
	return Info{h.FS, h.FSID, h.Path, h.Sequence, h.Since, h.Created, h.Mark}, nil
}
