package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// recordFormat is the newest format of records: 1 knew no units, no states of
// epochs and no shares of a root key. Formats of the same number of different
// records have nothing to do with each other.
const recordFormat = 2

// newestFormat is the newest format that is read: manifests with a recovery
// recipient.
const newestFormat = 3

// kind is a key's place in the tree. It is also the purpose that its wrap is
// bound to.
type kind string

const (
	kindRoot  kind = "root"  // a stage's share of a file system's index and name keys
	kindEpoch kind = "epoch" // wraps the file keys of a stage
)

// state is what may be done with a key.
type state string

// A retired epoch opens what it sealed, and seals nothing new. Of what is
// destroyed only that it was is kept.
const (
	stateLive      state = "live"
	stateRetired   state = "retired"
	stateDestroyed state = "destroyed"
)

// keyRecord is a wrapped key. Its parent is either a master key in a KMS
// (Provider, Master) or another key of the keyring (Parent).
type keyRecord struct {
	Format   int    `cbor:"1,keyasint"`
	ID       efs.ID `cbor:"2,keyasint"`
	Kind     kind   `cbor:"3,keyasint"`
	State    state  `cbor:"4,keyasint"`
	Provider string `cbor:"5,keyasint,omitempty"`
	Master   string `cbor:"6,keyasint,omitempty"`
	Parent   efs.ID `cbor:"7,keyasint,omitzero"`
	FS       efs.ID `cbor:"8,keyasint"`
	Purpose  string `cbor:"9,keyasint"`
	Stage    int    `cbor:"10,keyasint"`
	Epoch    int    `cbor:"11,keyasint"` // 0 for root secrets
	Created  int64  `cbor:"12,keyasint"` // Unix time, microseconds
	Wrapped  []byte `cbor:"13,keyasint"`
	Job      efs.ID `cbor:"14,keyasint,omitzero"` // that wrapped it anew last; since format 2
}

// binding is what the wrap is bound to.
func (r *keyRecord) binding() efs.Binding {
	return efs.Binding{Purpose: r.Purpose, FS: r.FS, Stage: r.Stage, Epoch: r.Epoch, Key: r.ID}
}

// String names the key for people, without anything secret.
func (r *keyRecord) String() string {
	if r.Kind == kindEpoch {
		return fmt.Sprintf("key of stage %d, epoch %d, of file system %s", r.Stage, r.Epoch, r.FS)
	}
	return fmt.Sprintf("%s secret of stage %d of file system %s", r.Kind, r.Stage, r.FS)
}

// manifest says which keys a file system has. It is stored with a tag under a
// key derived from all root secrets, so that who can write the store can
// neither take stages away nor exchange names.
type manifest struct {
	Format  int      `cbor:"1,keyasint"`
	FS      efs.ID   `cbor:"2,keyasint"`
	Name    string   `cbor:"3,keyasint"`
	Created int64    `cbor:"4,keyasint"` // Unix time, microseconds
	Roots   []efs.ID `cbor:"5,keyasint"` // by stage
	Newest  int      `cbor:"6,keyasint"` // number of the epoch that new contents are sealed in
	Epochs  []epoch  `cbor:"7,keyasint"`
	Split   split    `cbor:"8,keyasint,omitempty"` // since format 2

	Recovery string `cbor:"9,keyasint,omitempty"` // public key that the keys are sealed to as well; since format 3
}

// split is how the root key comes from the root secrets of all stages.
type split int

const (
	splitConcat split = iota // HKDF-Extract of all of them, one after the other
	splitXOR                 // their sum modulo 2
)

type epoch struct {
	Number int      `cbor:"1,keyasint"`
	Keys   []efs.ID `cbor:"2,keyasint"`           // by stage
	State  state    `cbor:"3,keyasint,omitempty"` // since format 2
}

// find returns the index of an epoch; -1 if there is none.
func (m *manifest) find(number int) int {
	return slices.IndexFunc(m.Epochs, func(e epoch) bool { return e.Number == number })
}

// clone returns a copy to be changed, in the present format.
func (m *manifest) clone() *manifest {
	c := *m
	c.Format, c.Roots, c.Epochs = recordFormat, slices.Clone(m.Roots), slices.Clone(m.Epochs)
	return &c
}

const tagSize = sha256.Size

// seal returns the stored form of m, with its tag under key.
func (m *manifest) seal(key []byte) ([]byte, error) {
	if m.Recovery != "" {
		m.Format = newestFormat
	}
	body, err := detcbor.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(body, tag(key, body)...), nil
}

// parseManifest reads the stored form. What it says is proven only by
// checking the tag of body.
func parseManifest(stored []byte) (m *manifest, body, sum []byte, err error) {
	if len(stored) < tagSize {
		return nil, nil, nil, efs.ErrDamaged
	}
	body, sum = stored[:len(stored)-tagSize], stored[len(stored)-tagSize:]
	m = new(manifest)
	if err := decode(body, m); err != nil {
		return nil, nil, nil, err
	}
	for i := range m.Epochs {
		if m.Epochs[i].State == "" {
			m.Epochs[i].State = stateLive
		}
	}
	return m, body, sum, nil
}

func tag(key, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

// decode reads a record; newer formats are told from damage.
func decode(b []byte, into any) error {
	var version struct {
		Format int `cbor:"1,keyasint"`
	}
	if err := detcbor.UnmarshalKnown(b, &version); err != nil {
		return fmt.Errorf("%w: unreadable record", efs.ErrDamaged)
	}
	if version.Format > newestFormat {
		return fmt.Errorf("a record has format %d, this program knows %d: it was written by a newer EFS, start that one",
			version.Format, newestFormat)
	}
	if err := detcbor.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: unreadable record", efs.ErrDamaged)
	}
	return nil
}
