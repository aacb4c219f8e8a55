package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/secret"
)

// small makes a closed log of a few lines with heads among them, and returns
// its text.
func small(t *testing.T) (*world, []byte) {
	w := newWorld(t)
	w.store(2)
	must(t, w.log.Checkpoint(context.Background()))
	w.store(2)
	must(t, w.log.Close())
	w.good()
	return w, w.text1()
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	w, text := small(t)
	for i := range text {
		for _, bit := range []byte{1, 0x20, 0x80} {
			changed := bytes.Clone(text)
			changed[i] ^= bit
			w.replace(changed)
			r := w.verify()
			if r.Bad == nil {
				t.Fatalf("byte %d flipped by %#x was not found:\n%s", i, bit, changed)
			}
			if line := int64(1 + bytes.Count(text[:i], []byte("\n"))); r.Bad.Line != line && r.Bad.Line != line+1 {
				t.Fatalf("byte %d in line %d was found in line %d", i, line, r.Bad.Line)
			}
		}
	}
}

// TestWithoutTheKey: hashes and signatures alone find everything up to the
// last head.
func TestWithoutTheKeyAllUpToTheLastHeadIsFound(t *testing.T) {
	w, text := small(t)
	without := func(c *Check) { c.First = nil }
	w.good(without)
	last := bytes.LastIndex(text, []byte(macMark)) // the MAC of the head itself is behind its signature
	for i := range text[:last] {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		w.replace(changed)
		if w.verify(without).Bad == nil {
			t.Fatalf("byte %d was not found", i)
		}
	}
}

func TestLinesMissingMovedOrTwiceAreFound(t *testing.T) {
	w, text := small(t)
	all := split(text)
	try := func(what string, lines [][]byte) {
		t.Helper()
		w.replace(bytes.Join(lines, nil))
		if r := w.verify(); r.Bad == nil {
			t.Errorf("%s was not found", what)
		}
	}
	for i := range all {
		if i < len(all)-1 { // a missing end is found by the heads kept elsewhere
			try("a removed line", slices.Delete(slices.Clone(all), i, i+1))
			swapped := slices.Clone(all)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			try("lines in another order", swapped)
		}
		try("a line twice", slices.Insert(slices.Clone(all), i, all[i]))
	}
}

func TestALogThatWasCutBackIsFoundByItsHead(t *testing.T) {
	w, text := small(t)
	all := split(text)
	head := all[len(all)-1]
	if r := w.good(func(c *Check) { c.Heads = [][]byte{head} }); r.Kept != 1 {
		t.Errorf("%+v", r)
	}
	for n := range all {
		w.replace(bytes.Join(all[:n], nil))
		if r := w.verify(func(c *Check) { c.Heads = [][]byte{head} }); r.Bad == nil {
			t.Errorf("cut after line %d: not found", n)
		}
	}
}

// memory keeps a head apart.
type memory struct{ head []byte }

func (m *memory) PutAuditHead(h []byte) error { m.head = bytes.Clone(h); return nil }
func (m *memory) AuditHead() ([]byte, error)  { return m.head, nil }

func TestALogPutBackWithItsStateIsNoticedAtStart(t *testing.T) {
	apart := &memory{}
	w := newWorld(t, func(o *Options) { o.Apart = apart })
	w.store(3)
	must(t, w.log.Checkpoint(context.Background()))
	old, state := w.text1(), w.secret(secretState)
	w.store(3)
	must(t, w.log.Close())
	w.replace(old)
	must(t, w.box.Put(secretState, state))
	if r := w.verify(); r.Bad != nil { // which is why heads are kept apart
		t.Errorf("%+v", r.Bad)
	}
	w.open()
	w.store(1)
	must(t, w.log.Close())
	r := w.verify()
	if r.Bad == nil {
		t.Fatal("nothing was noticed")
	}
}

func TestAChangedLineIsToldAtStartAndForGood(t *testing.T) {
	w := newWorld(t)
	w.store(6)
	text, state := w.text1(), w.secret(secretSign)
	must(t, w.log.Close())
	must(t, w.box.Delete(secretState)) // as before the first head
	changed := bytes.Replace(text, []byte("192.0.2.1"), []byte("192.0.2.9"), 2)
	changed = bytes.Replace(changed, []byte("192.0.2.9"), []byte("192.0.2.1"), 1)
	w.replace(changed)
	w.open()
	w.store(1)
	must(t, w.log.Close())
	r := w.verify()
	if r.Bad == nil || r.Bad.Seq != 3 {
		t.Fatalf("%+v", r.Bad)
	}
	contains(t, r.Bad.Why, "taken out")
	contains(t, r.Bad.Why, "MAC is wrong")
	names, err := os.ReadDir(w.dir)
	must(t, err)
	if !slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "damaged-") }) {
		t.Error("what was taken out was not kept")
	}
	if !bytes.Equal(state, w.secret(secretSign)) {
		t.Error("the signing key changed")
	}
}

// TestTheKeyOfTodayMakesNoLinesOfYesterday: who has all that the running server
// has, once the first key was taken out, can go on with the log but not
// rewrite it.
func TestTheKeyOfTodayMakesNoLinesOfYesterday(t *testing.T) {
	w := newWorld(t)
	w.store(3)
	var first []byte
	must(t, w.log.TakeKey(context.Background(), func(k []byte) error { first = bytes.Clone(k); return nil }))
	if err := w.log.TakeKey(context.Background(), nil); err == nil {
		t.Error("the key was taken twice")
	}
	w.store(1)
	w.reopen()
	must(t, w.log.Close())
	if r := w.good(); r.MACs {
		t.Error("MACs were checked without their key")
	}
	if r := w.good(func(c *Check) { c.First = bytes.Clone(first) }); !r.MACs {
		t.Error("MACs were not checked")
	}
	// The thief makes the whole log anew with the key of today and the
	// signing key.
	s, err := readState(w.box)
	must(t, err)
	key, err := secret.NewKey(s.Key)
	must(t, err)
	seed, err := secret.NewKey(w.secret(secretSign))
	must(t, err)
	at := link{seq: 1}
	var forged []byte
	for _, raw := range split(w.text1()) {
		l, err := parse(raw)
		must(t, err)
		start := bytes.Index(raw, []byte(`"time"`))
		body := bytes.Replace(raw[start:bytes.Index(raw, []byte(`,"prev"`))], []byte("alice"), []byte("mallory"), 1)
		var signer func([]byte) []byte
		if l.Signed() {
			signer = sign(seed)
		}
		forged, err = at.appendLine(forged, body, key, signer)
		must(t, err)
	}
	w.replace(forged)
	w.good() // hashes and signatures are all in order
	if r := w.verify(func(c *Check) { c.First = first }); r.Bad == nil || r.Bad.Line != 1 {
		t.Errorf("the forgery was not found: %+v", r.Bad)
	}
}

func TestHeadsOfAnotherKeyAreNotBelieved(t *testing.T) {
	w, _ := small(t)
	other, _, err := ed25519.GenerateKey(nil)
	must(t, err)
	if r := w.verify(func(c *Check) { c.Public = other }); r.Bad == nil {
		t.Error("not found")
	}
	p, err := ReadPublic(w.dir + "/" + PublicName)
	must(t, err)
	w.good(func(c *Check) { c.Public = p })
}
