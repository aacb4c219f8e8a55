package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/time/rate"
)

// PublicName is the file beside the log with the public key of its heads.
const PublicName = "audit.pub"

// How many events by unknown callers are recorded a second, and at once.
const (
	strangerRate  = 100
	strangerBurst = 1000
)

// Open opens the log in o.Dir with the keys in box, and makes both where they
// are missing. The key is brought forward over the lines that were written
// after it was last kept. What does not fit is kept aside, and the log goes on
// with a line that says so.
func Open(box Box, o Options) (*Log, error) {
	o.defaults()
	if err := atomicfile.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the audit log's directory: %w", err)
	}
	seed, err := signingSeed(box)
	if err != nil {
		return nil, err
	}
	l := &Log{o: o, box: box, root: box.RootID(), seed: seed, batch: newBatch(nil),
		strangers: rate.NewLimiter(strangerRate, strangerBurst),
		wake:      make(chan struct{}, 1), stop: make(chan struct{}), soon: time.NewTimer(time.Hour)}
	l.soon.Stop()
	l.KeepFor(o.KeepAge)
	l.keeper.indexes, l.keeper.work = make(map[string][]byte), make(chan struct{}, 1)
	notes, err := l.recover()
	if err != nil {
		seed.Destroy()
		return nil, err
	}
	keeperStop := make(chan struct{})
	l.tasks.Go(func() { defer close(keeperStop); l.run() })
	l.tasks.Go(func() { l.runKeeper(keeperStop) })
	for _, n := range notes {
		o.Logger.Error("audit log: "+n.detail, "dir", o.Dir)
		if _, err := l.addBody(gapBody(o.Clock(), n.op, n.detail), awaited, true); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// recover finds where the log is. notes are to be its next lines.
func (l *Log) recover() (notes []note, err error) {
	pub, err := public(l.seed)
	if err != nil {
		return nil, err
	}
	s, err := readState(l.box)
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	key, err := secret.NewKey(bytes.Clone(s.Key))
	if err != nil {
		return nil, err
	}
	r := &recovery{dir: l.o.Dir, now: l.o.Clock(), state: s, walker: walker{link: link{seq: s.Seq}, key: key, public: pub}}
	copy(r.prev[:], s.Prev)
	err = r.walk()
	heads, foreign := l.knownHeads(pub)
	if err == nil {
		err = r.compare(heads)
	}
	for _, h := range foreign {
		r.note("audit.damaged", "a head of line %d of this log was kept elsewhere that another key signed: the log was removed together with its keys", h.Seq)
	}
	if err == nil {
		err = l.resume(r)
	}
	if err == nil {
		err = exportPublic(l.o.Dir, pub)
	}
	if err != nil {
		key.Destroy()
		return nil, err
	}
	return r.notes, nil
}

// resume makes the writer go on where the recovery ended.
func (l *Log) resume(r *recovery) error {
	l.next = r.seq
	l.w = writer{at: r.link, key: r.key, headAt: -1, first: r.first, size: r.size, lines: r.lines, reserved: r.size, since: r.since}
	if r.first == 0 {
		return nil
	}
	f, err := l.o.open(segmentPath(l.o.Dir, r.first))
	if err != nil {
		return err
	}
	// A file that was being written when the server was killed still has what
	// was allocated ahead of it.
	if err := f.Truncate(r.size); err != nil {
		return errors.Join(fmt.Errorf("opening the audit log: %w", err), f.Close())
	}
	l.w.f = f
	l.endPath, l.endSize = segmentPath(l.o.Dir, r.first), r.size
	return nil
}

// knownHeads collects the newest heads of this log that were kept outside;
// foreign are the last of those that another key than p signed, of which
// there are none unless somebody had the server make new keys.
func (l *Log) knownHeads(p ed25519.PublicKey) (heads, foreign []*Line) {
	var raw [][]byte
	if l.o.Apart != nil {
		h, err := l.o.Apart.AuditHead()
		if err != nil {
			l.o.Logger.Error("head of the audit log not read", "from", "keyring", "err", err)
		}
		raw = append(raw, h)
	}
	for _, sink := range l.o.Sinks {
		s, ok := sink.(interface{ Heads() ([][]byte, error) })
		if !ok {
			continue
		}
		all, err := s.Heads()
		if err != nil {
			l.o.Logger.Error("head of the audit log not read", "from", sink.Name(), "err", err)
		}
		raw = append(raw, all...)
	}
	for _, b := range raw {
		switch h, genuine := readHead(b, p); {
		case h == nil || h.Root != l.root:
		case genuine:
			heads = append(heads, h)
		default:
			foreign = []*Line{h}
		}
	}
	return heads, foreign
}

// readHead returns a line if it is a signed head, nil if not, and whether p
// signed it.
func readHead(b []byte, p ed25519.PublicKey) (h *Line, genuine bool) {
	h, err := parse(b)
	if err != nil || h.Op != "audit.head" || !h.Signed() {
		return nil, false
	}
	return h, h.checkSignature(p) == nil
}

// exportPublic writes the public key beside the log, for whoever verifies
// heads without the server's keys.
func exportPublic(dir string, p ed25519.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(p)
	if err != nil {
		return fmt.Errorf("exporting the audit log's public key: %w", err)
	}
	want := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	path := filepath.Join(dir, PublicName)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, want) {
		return nil
	}
	if err := atomicfile.Write(path, want, 0o644); err != nil {
		return fmt.Errorf("exporting the audit log's public key: %w", err)
	}
	return nil
}

// ReadPublic reads a public key as exported.
func ReadPublic(path string) (ed25519.PublicKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log's public key: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if p, ok := key.(ed25519.PublicKey); ok {
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("%s holds no Ed25519 public key in PEM form", path)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a file of the audit log: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}
