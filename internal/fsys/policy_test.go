package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

// set changes the policy, which must succeed.
func (e *env) set(change func(p *efs.Policy)) efs.Policy {
	e.t.Helper()
	p, err := e.trySet(change)
	e.check(err)
	return p
}

func (e *env) trySet(change func(p *efs.Policy)) (efs.Policy, error) {
	p := e.Policy()
	p.Stages = slices.Clone(p.Stages)
	change(&p)
	return e.SetPolicy(ctx, Who{User: "admin"}, p)
}

// stages returns what the header of a file's only content says of its stages.
func (e *env) stages(path string) (suites []seal.Suite) {
	e.t.Helper()
	entry, err := e.Stat(ctx, path)
	e.check(err)
	h, err := e.header(ctx, &entry.Extents[0])
	e.check(err)
	for _, st := range h.Stages {
		suites = append(suites, st.Suite)
	}
	return suites
}

func TestContentsFollowThePolicyFromThenOn(t *testing.T) {
	e := newEnv(t)
	text := bytes.Repeat([]byte("the same again "), 4000)
	e.put("old-small", text[:inlineSize])
	e.put("old-large", text)
	p := e.set(func(p *efs.Policy) {
		p.Stages[0].Algorithm = efs.ChaCha20Poly1305
		p.Compression, p.Padding, p.InlineLimit = "zstd", "none", 500
	})
	if p.Version != 2 || e.Policy().Version != 2 {
		t.Errorf("the policy is at version %d, %d", p.Version, e.Policy().Version)
	}
	e.put("new-small", text[:400])
	e.put("new-large", text)
	for path, want := range map[string]seal.Suite{
		"old-small": seal.AES256GCM, "old-large": seal.AES256GCM,
		"new-small": seal.ChaCha20Poly1305, "new-large": seal.ChaCha20Poly1305,
	} {
		if got := e.stages(path); len(got) != 1 || got[0] != want {
			t.Errorf("%s is sealed by %v, want %v", path, got, want)
		}
		entry, err := e.Stat(ctx, path)
		e.check(err)
		x := entry.Extents[0]
		version := 1
		if strings.HasPrefix(path, "new") {
			version = 2
		}
		if x.Policy != version {
			t.Errorf("%s notes policy %d", path, x.Policy)
		}
		if x.Epoch != 1 || x.Inline != strings.HasSuffix(path, "small") {
			t.Errorf("%s: %+v", path, x)
		}
		if path == "new-large" && x.Sealed > x.Length/10 {
			t.Errorf("%d bytes were not compressed: %d", x.Length, x.Sealed)
		}
	}
	for range 2 {
		e.holds("old-small", text[:inlineSize])
		e.holds("old-large", text)
		e.holds("new-small", text[:400])
		e.holds("new-large", text)
		e.clean()
		e.reopen()
	}
	if got := e.Policy(); got.Version != 2 || got.Compression != "zstd" {
		t.Errorf("after restart the policy is %+v", got)
	}
}

func TestThePolicyHasAHistory(t *testing.T) {
	e := newEnv(t)
	e.set(func(p *efs.Policy) { p.Compression = "zstd" })
	e.set(func(p *efs.Policy) {}) // nothing
	e.set(func(p *efs.Policy) { p.Padding = "none" })
	e.reopen()
	all, err := e.PolicyHistory(ctx)
	e.check(err)
	if len(all) != 3 || all[0].Compression != "none" || all[1].Compression != "zstd" || all[1].Padding != "padme" || all[2].Padding != "none" ||
		all[2].Version != 3 || all[2].User != "admin" || all[1].Changed.Before(all[0].Changed) || all[0].Changed.IsZero() {
		t.Errorf("the history is %+v", all)
	}
	changes, err := e.Changes(ctx, 0, 10)
	e.check(err)
	if len(changes) != 2 || changes[1].Op != efs.OpAccess || changes[1].Path != "policy/3" || changes[1].User != "admin" {
		t.Errorf("the log has %+v", changes)
	}
}

func TestAPolicyThatDoesNotHoldTogetherChangesNothing(t *testing.T) {
	e := newEnv(t)
	before := e.Policy()
	for what, c := range map[string]struct {
		change func(p *efs.Policy)
		want   error
	}{
		"algorithm":    {func(p *efs.Policy) { p.Stages[0].Algorithm = "ROT13" }, efs.ErrBadInput},
		"no stage":     {func(p *efs.Policy) { p.Stages = nil }, efs.ErrBadInput},
		"five stages":  {func(p *efs.Policy) { p.Stages = slices.Repeat(p.Stages, 5) }, efs.ErrBadInput},
		"compression":  {func(p *efs.Policy) { p.Compression = "rar" }, efs.ErrBadInput},
		"padding":      {func(p *efs.Policy) { p.Padding = "yes" }, efs.ErrBadInput},
		"inline limit": {func(p *efs.Policy) { p.InlineLimit = 2 << 20 }, efs.ErrBadInput},
		"segments":     {func(p *efs.Policy) { p.SegmentSize = 5000 }, efs.ErrBadInput},
		"fan-out":      {func(p *efs.Policy) { p.FanOut = 3 }, efs.ErrBadInput},
		"unit":         {func(p *efs.Policy) { p.ErasureUnit = "patients/p*" }, efs.ErrBadInput},
		"no such key":  {func(p *efs.Policy) { p.Stages[0].KeyID = "nowhere" }, efs.ErrNotFound},
		"no such KMS":  {func(p *efs.Policy) { p.Stages[0].Provider = "nobody" }, nil},
		"its version":  {func(p *efs.Policy) { p.Version = 7; p.Padding = "none" }, efs.ErrConflict},
	} {
		_, err := e.trySet(c.change)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	e.reopen()
	if all, err := e.PolicyHistory(ctx); err != nil || len(all) != 1 || e.keys.Epoch() != 1 || !samePolicy(e.Policy(), before) {
		t.Errorf("the history is %+v, %v; epoch %d", all, err, e.keys.Epoch())
	}
	e.put("f", data(1, blobSize))
	e.clean()
}

func TestOfTwoWhoSetThePolicyOneWins(t *testing.T) {
	e := newEnv(t)
	var won atomic.Int64
	var wg sync.WaitGroup
	p := e.Policy()
	for i := range 8 {
		wg.Go(func() {
			p := p
			p.InlineLimit = 100 + i
			switch _, err := e.SetPolicy(ctx, Who{}, p); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, efs.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || e.Policy().Version != 2 {
		t.Errorf("%d won, version %d", won.Load(), e.Policy().Version)
	}
}

// secondKMS is a KMS of another name, over a store of its own.
func (e *env) secondKMS(name string) efs.KMS {
	e.t.Helper()
	key, err := secret.NewKey(bytes.Repeat([]byte{9}, 32))
	e.check(err)
	dir := e.path(".server-" + name)
	e.check(os.MkdirAll(dir, 0o700))
	box, err := starter.CreateBox(dir, key, nil)
	e.check(err)
	kms, err := local.Open(box)
	e.check(err)
	e.t.Cleanup(func() { kms.Close() })
	_, err = kms.CreateKey(ctx, "key-of-"+name, efs.KeyOptions{})
	e.check(err)
	return named{kms, name}
}

// named is a KMS under another name.
type named struct {
	efs.KMS
	name string
}

func (n named) Name() string { return n.name }

// with opens the keyring with these KMSs alone.
func (e *env) with(kms map[string]efs.KMS) error {
	e.t.Helper()
	e.close()
	e.check(e.ring.Close())
	var err error
	e.ring, err = keyring.Open(e.path("keys.db"), kms, keyring.Options{})
	e.check(err)
	if e.keys, err = e.ring.Keys(ctx, e.id); err != nil {
		return err
	}
	return e.tryOpen()
}

func TestWithTwoStagesNeitherProviderAloneOpensAnything(t *testing.T) {
	e := newEnv(t)
	other := e.secondKMS("other")
	both := map[string]efs.KMS{"local": e.kms, "other": other}
	e.check(e.with(both))
	e.put("old", data(1, blobSize))
	var wg sync.WaitGroup // stores go on meanwhile
	stop := make(chan struct{})
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					e.put(fmt.Sprintf("w%d/%d", w, i%20), data(uint64(i), i%2*blobSize+100))
				}
			}
		})
	}
	p := e.set(func(p *efs.Policy) {
		p.Stages = append(p.Stages, efs.StagePolicy{Algorithm: efs.ChaCha20Poly1305, Provider: "other", KeyID: "key-of-other"})
	})
	close(stop)
	wg.Wait()
	e.put("small", data(2, inlineSize))
	e.put("large", data(3, blobSize))
	for _, path := range []string{"small", "large"} {
		if got := e.stages(path); len(got) != 2 || got[0] != seal.AES256GCM || got[1] != seal.ChaCha20Poly1305 {
			t.Errorf("%s is sealed by %v", path, got)
		}
	}
	if len(p.Stages) != 2 || e.keys.Epoch() != 2 {
		t.Errorf("%+v, epoch %d", p, e.keys.Epoch())
	}
	for what, some := range map[string]map[string]efs.KMS{"without the other": {"local": e.kms}, "without the local": {"other": other}} {
		if err := e.with(some); err == nil {
			t.Errorf("%s it opens", what)
		}
		// Neither do names, entries or contents, with what one of them has.
		if e.keys != nil {
			for _, purpose := range []string{"index", "names"} {
				if _, err := e.keys.Root(purpose); err == nil {
					t.Errorf("%s: the key of %s is to be had", what, purpose)
				}
			}
		}
	}
	e.check(e.with(both))
	e.holds("old", data(1, blobSize))
	e.holds("small", data(2, inlineSize))
	e.holds("large", data(3, blobSize))
	e.clean()

	// And back to one, the other one.
	e.set(func(p *efs.Policy) { p.Stages = p.Stages[1:] })
	e.put("after", data(4, blobSize))
	if got := e.stages("after"); len(got) != 1 || got[0] != seal.ChaCha20Poly1305 {
		t.Errorf("sealed by %v", got)
	}
	e.holds("large", data(3, blobSize))
	e.clean()
}

// killedKeys are the keys of a process that ends before or after a step.
type killedKeys struct {
	*keyring.Keys
	before, after bool
}

var errKilled = errors.New("killed")

func (k killedKeys) Restage(c context.Context, stages []efs.StagePolicy) (int, error) {
	if k.before {
		panic(errKilled)
	}
	n, err := k.Keys.Restage(c, stages)
	if k.after && err == nil {
		panic(errKilled)
	}
	return n, err
}

func TestAPolicyThatWasBeingSetIsSetOrNotAfterACrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		e := newEnv(t)
		e.put("f", data(1, blobSize))
		e.close()
		e.check(e.tryOpen(func(o *Options) { o.Keys = killedKeys{e.keys, !after, after} }))
		func() {
			defer func() {
				if r := recover(); r != errKilled {
					t.Errorf("ended with %v", r)
				}
			}()
			_, err := e.trySet(func(p *efs.Policy) { p.Stages = append(p.Stages, p.Stages[0]) })
			t.Errorf("it was not killed: %v", err)
		}()
		e.crash()
		e.check(e.tryOpen())
		want := 1
		if after {
			want = 2
		}
		if p := e.Policy(); len(p.Stages) != want || p.Version != want || e.keys.Epoch() != want {
			t.Errorf("killed after: %v: %d stages, version %d, epoch %d", after, len(p.Stages), p.Version, e.keys.Epoch())
		}
		if recs, err := e.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: intendedKey()}); err != nil || recs[0].Version != 0 {
			t.Errorf("the intention is left: %v", err)
		}
		e.holds("f", data(1, blobSize))
		e.put("g", data(2, blobSize))
		if got := e.stages("g"); len(got) != want {
			t.Errorf("sealed by %v", got)
		}
		e.clean()
	}
}

// Policies of before there were histories have neither time nor user, and
// extents of then no epoch.
func TestRecordsOfTheFirstVersionOpen(t *testing.T) {
	e := newEnv(t)
	tx := e.begin(Who{})
	tx.put(efs.SpaceMeta, policyKey(1), e.Policy())
	_, err := tx.commit(ctx)
	e.check(err)
	e.reopen()
	all, err := e.PolicyHistory(ctx)
	e.check(err)
	if len(all) != 1 || !samePolicy(all[0].Policy, e.policy) || all[0].Changed.UnixMicro() != e.created || all[0].User != "" {
		t.Errorf("the history is %+v", all)
	}
	// {1: offset, 2: length, 3: sealed, 4: content, 5: inline, 6: policy}
	old := append([]byte("\xa6\x01\x00\x02\x19\x03\xe8\x03\x19\x05\xdc\x04\x50"), e.id[:]...)
	old = append(old, 5, 0xf5, 6, 1)
	want := efs.Extent{Length: 1000, Sealed: 1500, Content: e.id, Inline: true, Policy: 1}
	if got := appendExtent(nil, &want); !bytes.Equal(got, old) {
		t.Errorf("an extent without an epoch is encoded as %x, want %x", got, old)
	}
	r := entryReader{rest: "\x81" + string(old)}
	if got := r.extents(nil); r.odd || len(got) != 1 || got[0] != want {
		t.Errorf("it is decoded as %+v", got)
	}
}
