package audit

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/efs-project/efs"
)

// IndexHead is the head of a file system's index as it is handed to sinks: one
// JSON line, signed like a head of the log.
type IndexHead struct {
	V        int    `json:"v"`
	Kind     string `json:"kind"` // "index"
	Root     efs.ID `json:"root"`
	FS       efs.ID `json:"fs"`
	Name     string `json:"name"`
	Revision uint64 `json:"revision"`
	Seq      uint64 `json:"seq"`
	Link     []byte `json:"link"`
	Time     int64  `json:"time"` // Unix time, microseconds
	Sig      string `json:"sig"`
}

const indexKind = `{"v":1,"kind":"index","root":"`

// AnchorIndex hands the head of an index to the sinks, soon: of several only
// the newest.
func (l *Log) AnchorIndex(name string, h efs.Head) {
	if l == nil || len(l.o.Sinks) == 0 {
		return
	}
	b := appendID(append([]byte(nil), indexKind...), l.root)
	b = appendID(append(b, `","fs":"`...), h.FS)
	b = append(b, `","name":`...)
	b = appendText(b, name, maxText)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, h.Revision, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, h.Seq, 10)
	b = append(b, `,"link":"`...)
	b = encodingStd.AppendEncode(b, h.Link[:])
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, h.Time, 10)
	sig := sign(l.seed)(b)
	b = append(b, `,"sig":"`...)
	b = append(encoding.AppendEncode(b, sig), lineEnd...)
	l.keeper.mu.Lock()
	l.keeper.indexes[name] = b
	l.keeper.mu.Unlock()
	l.keeper.signal()
}

// parseIndexHead reads a line that AnchorIndex made, and checks its signature.
func parseIndexHead(raw []byte, p ed25519.PublicKey) (*IndexHead, error) {
	const mark = `,"sig":"`
	at := len(raw) - len(lineEnd) - signText - len(mark)
	h := &IndexHead{}
	if at < len(indexKind) || string(raw[:len(`{"v":1,"kind":"index"`)]) != `{"v":1,"kind":"index"` || string(raw[at:at+len(mark)]) != mark {
		return nil, fmt.Errorf("no head of an index: %w", efs.ErrBadInput)
	}
	if err := json.Unmarshal(raw, h); err != nil || len(h.Link) != 32 {
		return nil, fmt.Errorf("no head of an index: %w", efs.ErrDamaged)
	}
	sig, err := encoding.DecodeString(h.Sig)
	if err != nil || !ed25519.Verify(p, signed(raw[:at]), sig) {
		return nil, fmt.Errorf("the signature of an index's head: %w", efs.ErrDamaged)
	}
	return h, nil
}

// IndexAnchor returns the last head of a file system's index that a sink kept,
// of several sinks the newest; false if none did, or none can be read back. The
// last is not always the newest: an operator may have accepted an older index.
func (l *Log) IndexAnchor(fs efs.ID) (efs.Head, bool) {
	if l == nil {
		return efs.Head{}, false
	}
	p, err := public(l.seed)
	if err != nil {
		return efs.Head{}, false
	}
	var newest *IndexHead
	for _, sink := range l.o.Sinks {
		s, ok := sink.(interface{ Heads() ([][]byte, error) })
		if !ok {
			continue
		}
		all, err := s.Heads()
		if err != nil {
			l.o.Logger.Error("heads of indexes not read", "from", sink.Name(), "err", err)
		}
		var last *IndexHead
		for _, raw := range all {
			if h, err := parseIndexHead(raw, p); err == nil && h.FS == fs && h.Root == l.root {
				last = h
			}
		}
		if last != nil && (newest == nil || last.Revision > newest.Revision) {
			newest = last
		}
	}
	if newest == nil {
		return efs.Head{}, false
	}
	head := efs.Head{FS: newest.FS, Revision: newest.Revision, Seq: newest.Seq, Time: newest.Time}
	copy(head.Link[:], newest.Link)
	return head, true
}
