package fsys

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// ended waits until a job has ended.
func (e *env) ended(j Job) Job {
	e.t.Helper()
	c, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	j, err := e.WaitJob(c, j.ID, nil)
	if err != nil {
		e.t.Fatalf("job %+v: %v", j, err)
	}
	return j
}

func (e *env) retire(epoch int) Job {
	e.t.Helper()
	j, err := e.RetireEpoch(ctx, epoch, ResealOptions{})
	e.check(err)
	j = e.ended(j)
	if j.State != JobDone {
		e.t.Fatalf("the job ended so: %+v", j)
	}
	return j
}

func (e *env) epochs() (numbers []int) {
	for _, i := range e.keys.Epochs() {
		numbers = append(numbers, i.Number)
	}
	return numbers
}

func TestARetiredEpochOpensNothingAndEverythingOpensWithoutIt(t *testing.T) {
	e := newEnv(t)
	for i := range 300 {
		e.put(fmt.Sprint("d", i%5, "/f", i), data(uint64(i), inlineSize+i))
	}
	for i := range 10 {
		e.put(fmt.Sprint("large", i), data(uint64(i), blobSize+i))
	}
	before, err := e.Stat(ctx, "large3")
	e.check(err)
	old := must(e.o.Blobs.Open(ctx, before.Extents[0].Content))
	sealed := must(io.ReadAll(newSection(old)))
	e.check(old.Close())
	h, err := e.Head(ctx)
	e.check(err)

	j := e.retire(1)
	if j.Files != 310 || j.Total != 310 || j.Problems != 0 || j.Pass != 2 || j.Ended.IsZero() {
		t.Errorf("the job is %+v", j)
	}
	if got := e.epochs(); !slices.Equal(got, []int{2}) {
		t.Errorf("epochs %v are left", got)
	}
	after, err := e.Stat(ctx, "large3")
	e.check(err)
	if after.ETag != before.ETag || after.Version != before.Version || after.File != before.File || after.Modified != before.Modified {
		t.Errorf("%+v became %+v", before, after)
	}
	if after.Extents[0].Content == before.Extents[0].Content || after.Extents[0].Epoch != 2 {
		t.Errorf("extent %+v", after.Extents[0])
	}
	// A thief's copy of the old content opens no more.
	_, err = seal.NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), &seal.Open{
		FS: e.id, Content: before.Extents[0].Content, Identities: e.ident, Size: -1, PlainSize: -1})
	e.refused("the old content", err, seal.ErrNoKey)
	now, err := e.Head(ctx)
	e.check(err)
	if now.Seq != h.Seq+1 { // that there is a job
		t.Errorf("the log grew from %d to %d", h.Seq, now.Seq)
	}
	for range 2 {
		for i := range 300 {
			e.holds(fmt.Sprint("d", i%5, "/f", i), data(uint64(i), inlineSize+i))
		}
		for i := range 10 {
			e.holds(fmt.Sprint("large", i), data(uint64(i), blobSize+i))
		}
		e.clean()
		e.idle()
		if n := len(e.blobs()); n != 10 {
			t.Errorf("%d blobs are left", n)
		}
		e.reopen()
	}
	if jobs := e.Jobs(); len(jobs) != 1 || jobs[0].State != JobDone {
		t.Errorf("after restart the jobs are %+v", jobs)
	}
}

// Where entries do not say which epoch sealed their contents, the headers do.
func TestContentsThatDoNotNoteTheirEpochAreFound(t *testing.T) {
	e := newEnv(t)
	for i, size := range []int{inlineSize, blobSize} {
		e.put(fmt.Sprint("f", i), data(uint64(i), size))
		s, err := e.locate(ctx, []string{fmt.Sprint("f", i)})
		e.check(err)
		s.entry.Extents[0].Epoch, s.entry.Extents[0].Policy = 0, 0
		tx := e.begin(Who{})
		tx.pin(s)
		tx.put(efs.SpaceEntries, s.key[:], s.entry) // of a small directory
		_, err = tx.commit(ctx)
		e.check(err)
	}
	if j := e.retire(1); j.Files != 2 {
		t.Errorf("the job is %+v", j)
	}
	e.holds("f0", data(0, inlineSize))
	e.holds("f1", data(1, blobSize))
	e.clean()
}

// Readers, writers and those who move and delete go on meanwhile, and every
// reader gets a whole version.
func TestClientsGoOnWhileEpochsAreRetired(t *testing.T) {
	e := newEnv(t)
	const files = 60
	content := func(i int, seed uint64) []byte { // that tells what it is
		return data(seed*files+uint64(i), 100+int(seed%7)*4000)
	}
	name := func(i int) string { return fmt.Sprintf("d%d/f%d", i%3, i) }
	var states [files]struct {
		sync.RWMutex
		seed uint64
	}
	for i := range files {
		e.put(name(i), content(i, 0))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				i := r.IntN(files)
				s := &states[i]
				switch r.IntN(6) {
				case 0, 1:
					s.Lock()
					s.seed = n
					e.put(name(i), content(i, n))
					s.Unlock()
				case 2:
					s.Lock()
					aside := fmt.Sprint("aside", i)
					_, err := e.Move(ctx, name(i), aside, MoveOptions{})
					if err == nil {
						_, err = e.Patch(ctx, aside, PatchOptions{Type: new(string)})
					}
					if err == nil {
						_, err = e.Move(ctx, aside, name(i), MoveOptions{})
					}
					s.Unlock()
					if err != nil {
						t.Errorf("moving: %v", err)
					}
				case 3:
					path := fmt.Sprintf("passing%d/%d", w, n)
					e.put(path, content(i, n))
					if err := e.Remove(ctx, fmt.Sprint("passing", w), RemoveOptions{Recursive: true}); err != nil {
						t.Errorf("deleting: %v", err)
					}
				default:
					s.RLock()
					e.holds(name(i), content(i, s.seed))
					s.RUnlock()
				}
			}
		})
	}
	for epoch := 1; epoch <= 3; epoch++ {
		e.retire(epoch)
	}
	close(stop)
	wg.Wait()
	if got := e.epochs(); !slices.Equal(got, []int{4}) {
		t.Errorf("epochs %v are left", got)
	}
	e.idle()
	for i := range files {
		e.holds(name(i), content(i, states[i].seed))
	}
	if r := e.clean(); !r.UsageChecked {
		t.Error("the sums were not compared")
	}
}

// slowBody is a body that is sent in two halves.
type slowBody struct {
	io.Reader
	half, more chan struct{}
	once       sync.Once
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.once.Do(func() { close(b.half); <-b.more })
	return b.Reader.Read(p)
}

// An upload that began with the old keys ends with them; the job waits for it,
// and seals it anew.
func TestAnUploadThatBeganBeforeIsNotLost(t *testing.T) {
	e := newEnv(t)
	first := data(7, blobSize)
	b := &slowBody{Reader: bytes.NewReader(first[10_000:]), half: make(chan struct{}), more: make(chan struct{})}
	uploaded := make(chan error)
	go func() {
		_, err := e.Put(ctx, "slow", io.MultiReader(bytes.NewReader(first[:10_000]), b), PutOptions{Size: int64(len(first))})
		uploaded <- err
	}()
	<-b.half
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{})
	e.check(err)
	_, err = e.RetireEpoch(ctx, 1, ResealOptions{})
	e.refused("a second job for the epoch", err, efs.ErrExists)
	for len(e.Jobs()[0].Detail) == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := e.epochs(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("there are epochs %v", got)
	}
	close(b.more)
	e.check(<-uploaded)
	if j = e.ended(j); j.State != JobDone || j.Files != 1 {
		t.Errorf("the job is %+v", j)
	}
	e.holds("slow", first)
	e.clean()
}

// A hold keeps old contents, and with them the keys.
func TestHoldsAndReadersDelayTheEndOfTheKeys(t *testing.T) {
	e := newEnv(t)
	e.put("f", data(1, blobSize))
	f, err := e.Open(ctx, "f")
	e.check(err)
	h, err := e.Head(ctx)
	e.check(err)
	e.check(e.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkHold, Name: "backup", Seq: h.Seq}))
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{})
	e.check(err)
	for e.Jobs()[0].Detail != "replaced contents are still kept by hold 'backup'" {
		time.Sleep(time.Millisecond)
	}
	e.check(f.Close())
	other, err := e.Reseal(ctx, ResealOptions{}) // is not kept back
	e.check(err)
	if other = e.ended(other); other.State != JobDone {
		t.Errorf("the other job is %+v", other)
	}
	e.crash()
	e.check(e.tryOpen())
	if jobs := e.Jobs(); jobs[0].State != JobWaiting || !slices.Equal(e.epochs(), []int{1, 2}) {
		t.Errorf("after a crash: %+v, epochs %v", jobs[0], e.epochs())
	}
	e.check(e.o.Index.DropMark(ctx, efs.MarkHold, "backup"))
	if f, err = e.Open(ctx, "f"); err == nil {
		defer f.Close() // of the new content: it delays nothing
	}
	if j = e.ended(j); j.State != JobDone || !slices.Equal(e.epochs(), []int{2}) {
		t.Errorf("the job is %+v, epochs %v", j, e.epochs())
	}
	e.holds("f", data(1, blobSize))
}

// Killed at whatever step, the next start goes on, and nothing is lost.
func TestRetiringGoesOnAfterACrash(t *testing.T) {
	e := newEnv(t)
	sizes := []int{inlineSize, blobSize, 3 * blobSize}
	for i := range 40 {
		e.put(fmt.Sprint("f", i), data(uint64(i), sizes[i%3]))
	}
	e.idle()
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{Rate: 4 << 20})
	e.check(err)
	for round := range 12 {
		time.Sleep(time.Duration(round) * 10 * time.Millisecond)
		e.crash()
		e.check(e.tryOpen())
		for i := range 40 {
			e.holds(fmt.Sprint("f", i), data(uint64(i), sizes[i%3]))
		}
	}
	if j = e.ended(j); j.State != JobDone || !slices.Equal(e.epochs(), []int{2}) {
		t.Errorf("the job is %+v, epochs %v", j, e.epochs())
	}
	for i := range 40 {
		e.holds(fmt.Sprint("f", i), data(uint64(i), sizes[i%3]))
	}
	e.idle()
	e.clean()
	if n := len(e.blobs()); n != 26 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestADamagedContentKeepsItsKeys(t *testing.T) {
	e := newEnv(t)
	e.put("good", data(1, blobSize))
	e.put("bad", data(2, blobSize))
	e.idle()
	entry, err := e.Stat(ctx, "bad")
	e.check(err)
	e.turnByte(entry.Extents[0].Content, 20_000)
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{})
	e.check(err)
	if j = e.ended(j); j.State != JobFailed || j.Problems != 1 || j.Files != 1 {
		t.Errorf("the job is %+v", j)
	}
	if !slices.Equal(e.epochs(), []int{1, 2}) {
		t.Errorf("epochs %v are left", e.epochs())
	}
	e.check(e.Remove(ctx, "bad", RemoveOptions{}))
	e.retire(1)
	e.holds("good", data(1, blobSize))
	e.clean()
}

func TestContentsAreBroughtToThePresentPolicy(t *testing.T) {
	e := newEnv(t)
	text := bytes.Repeat([]byte("again and "), 5000)
	e.put("small", text[:3000])
	e.put("large", text)
	e.set(func(p *efs.Policy) {
		p.Stages[0].Algorithm, p.Compression, p.InlineLimit = efs.ChaCha20Poly1305, "zstd", 100
	})
	e.quota("", 1<<30, 2) // full: it takes no more room
	j, err := e.Reseal(ctx, ResealOptions{})
	e.check(err)
	if j = e.ended(j); j.State != JobDone || j.Files != 2 || j.Policy != 2 {
		t.Errorf("the job is %+v", j)
	}
	for path, size := range map[string]int{"small": 3000, "large": len(text)} {
		entry, err := e.Stat(ctx, path)
		e.check(err)
		x := entry.Extents[0]
		if got := e.stages(path); got[0] != seal.ChaCha20Poly1305 || x.Inline || x.Policy != 2 || x.Sealed > x.Length {
			t.Errorf("%s is sealed by %v, %+v", path, got, x)
		}
		e.holds(path, text[:size])
	}
	e.clean()
	if !slices.Equal(e.epochs(), []int{1}) {
		t.Errorf("epochs %v", e.epochs())
	}
}

func TestAJobCanBeCanceled(t *testing.T) {
	e := newEnv(t)
	for i := range 20 {
		e.put(fmt.Sprint("f", i), data(1, blobSize))
	}
	h, err := e.Head(ctx)
	e.check(err)
	e.check(e.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkHold, Name: "for ever", Seq: h.Seq}))
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{})
	e.check(err)
	e.check(e.CancelJob(j.ID))
	if j = e.ended(j); j.State != JobCanceled || !slices.Equal(e.epochs(), []int{1, 2}) {
		t.Errorf("the job is %+v, epochs %v", j, e.epochs())
	}
	e.refused("canceling it again", e.CancelJob(j.ID), efs.ErrConflict)
	e.refused("canceling another", e.CancelJob(efs.NewID()), efs.ErrNotFound)
	_, err = e.RetireEpoch(ctx, 9, ResealOptions{})
	e.refused("an epoch there is not", err, efs.ErrNotFound)
	_, err = e.RetireEpoch(ctx, 1, ResealOptions{Rate: -1})
	e.refused("a negative rate", err, efs.ErrBadInput)
	e.clean()
}

// The sums of users stay right when the files they are counted by are sealed
// anew meanwhile.
func TestUsersAreCountedRightWhileContentsAreSealedAnew(t *testing.T) {
	e := newEnv(t)
	for i := range 800 {
		e.check(e.putAs("alice", fmt.Sprint("f", i), data(uint64(i), 50)))
	}
	j, err := e.RetireEpoch(ctx, 1, ResealOptions{})
	e.check(err)
	e.quota("alice", 1<<30, 0)
	e.ended(j)
	if use := e.counted()["alice"]; use != (efs.Usage{Bytes: 40_000, Files: 800}) {
		t.Errorf("alice has %+v in use", use)
	}
	e.clean()
}

// turnByte changes a byte of a blob behind the server's back.
func (e *env) turnByte(id efs.ID, at int64) {
	e.t.Helper()
	e.check(filepath.WalkDir(e.path("files"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), id.String()) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[at] ^= 1
		return os.WriteFile(path, b, 0o600)
	}))
}
