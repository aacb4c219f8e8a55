package fsys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
)

// env is a file system on the engines that the server runs on.
type env struct {
	*FS
	t      testing.TB
	root   string
	id     efs.ID
	ring   *keyring.Keyring
	keys   *keyring.Keys
	kms    efs.KMS
	policy efs.Policy
	index  bolt.Options
	files  dir.Options
	names  namesLimits
	wrap   func(*Options) // of the options, before the file system is opened
}

var ctx = context.Background()

// newEnv makes a file system under a policy with small limits, so that the
// blob path needs little data. Changes may adjust it before.
func newEnv(t testing.TB, adjust ...func(*env)) *env {
	t.Helper()
	e := &env{t: t, root: t.TempDir(), id: efs.NewID(), policy: efs.DefaultPolicy()}
	e.policy.InlineLimit = 4 << 10
	e.policy.SegmentSize = 4 << 10
	for _, a := range adjust {
		a(e)
	}
	e.openRing()
	var err error
	e.keys, err = e.ring.Create(ctx, e.id, "test", e.policy.Stages)
	e.check(err)
	sealer, err := HeadSealer(e.id, e.keys)
	e.check(err)
	index, err := bolt.Create(e.path("index.db"), e.id, sealer, e.index)
	e.check(err)
	blobs, err := dir.Create(e.path("files"), e.files)
	e.check(err)
	o := e.options(index, blobs)
	e.FS, err = Create(ctx, o)
	e.check(err)
	t.Cleanup(func() {
		e.close()
		if err := e.ring.Close(); err != nil {
			t.Errorf("closing the keyring: %v", err)
		}
	})
	return e
}

func (e *env) openRing() {
	server := e.path(".server")
	e.check(os.MkdirAll(server, 0o700))
	e.check(os.MkdirAll(e.path("files"), 0o700))
	key, err := secret.NewKey(bytes.Repeat([]byte{7}, 32))
	e.check(err)
	box, err := starter.CreateBox(server, key, nil)
	e.check(err)
	kms, err := local.Open(box)
	e.check(err)
	_, err = kms.CreateKey(ctx, "default", efs.KeyOptions{})
	e.check(err)
	e.kms = kms
	e.ring, err = keyring.Open(e.path("keys.db"), map[string]efs.KMS{"local": kms}, keyring.Options{})
	e.check(err)
}

func (e *env) options(index efs.Index, blobs efs.Blobs) Options {
	o := Options{ID: e.id, Name: "test", Index: index, Blobs: blobs, Keys: e.keys, Policy: e.policy, Anchor: e.ring, names: e.names}
	if e.wrap != nil {
		e.wrap(&o)
	}
	return o
}

func (e *env) path(name string) string { return filepath.Join(e.root, name) }

func (e *env) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) close() {
	e.t.Helper()
	if e.FS == nil {
		return
	}
	fs := e.FS
	e.FS = nil
	stopped := fs.Err() != nil
	if err := errors.Join(fs.Close(), fs.o.Blobs.Close(), fs.o.Index.Close()); err != nil && !stopped {
		e.t.Errorf("closing: %v", err)
	}
}

// tryOpen opens the file system that lies under the root.
func (e *env) tryOpen(adjust ...func(*Options)) error {
	e.t.Helper()
	sealer, err := HeadSealer(e.id, e.keys)
	e.check(err)
	index, err := bolt.Open(e.path("index.db"), e.id, sealer, e.index)
	if err != nil {
		return err
	}
	blobs, err := dir.Open(e.path("files"), e.files)
	e.check(err)
	o := e.options(index, blobs)
	for _, a := range adjust {
		a(&o)
	}
	fs, err := Open(ctx, o)
	if err != nil {
		e.check(errors.Join(blobs.Close(), index.Close()))
		return err
	}
	e.FS = fs
	return nil
}

// reopen closes the file system and opens it again.
func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.check(e.tryOpen())
}

func (e *env) put(path string, data []byte) PutResult {
	e.t.Helper()
	res, err := e.Put(ctx, path, bytes.NewReader(data), PutOptions{Size: -1})
	e.check(err)
	return res
}

// read returns the file at path, read whole.
func (e *env) read(path string) ([]byte, error) {
	f, err := e.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	err = f.WriteRange(&b, 0, -1)
	return b.Bytes(), err
}

func (e *env) holds(path string, want []byte) {
	e.t.Helper()
	got, err := e.read(path)
	if err != nil || !bytes.Equal(got, want) {
		e.t.Errorf("%s holds %d bytes, %v; want the %d that were stored", path, len(got), err, len(want))
	}
}

func (e *env) missing(path string) {
	e.t.Helper()
	if _, err := e.Stat(ctx, path); !errors.Is(err, efs.ErrNotFound) {
		e.t.Errorf("%s: %v, want ErrNotFound", path, err)
	}
}

func (e *env) refused(what string, err, want error) {
	e.t.Helper()
	if !errors.Is(err, want) {
		e.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// clean runs a deep fsck and demands that it find nothing.
func (e *env) clean() *FsckReport {
	e.t.Helper()
	r, err := e.Fsck(ctx, FsckOptions{Deep: true})
	e.check(err)
	for _, p := range r.Problems {
		e.t.Errorf("fsck: %+v", p)
	}
	return r
}

// idle waits until nothing is left for the background to do.
func (e *env) idle() {
	e.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		e.work.kick()
		queue, err := e.o.Index.Releasable(ctx, 1)
		e.check(err)
		detached, err := e.o.Index.Scan(ctx, efs.SpaceMeta, []byte{metaDetached}, nil, 1)
		e.check(err)
		unsettled := 0 // asked of the blobs, as the worker takes them off its list before it moves them
		e.check(e.o.Blobs.Unsettled(ctx, func(efs.BlobInfo) error { unsettled++; return nil }))
		if len(queue)+len(detached)+unsettled == 0 {
			return
		}
	}
	e.t.Fatal("the background work does not end")
}

// blobs returns the ids of all blobs.
func (e *env) blobs() (ids []efs.ID) {
	e.t.Helper()
	e.check(e.o.Blobs.Walk(ctx, func(b efs.BlobInfo) error {
		ids = append(ids, b.ID)
		return nil
	}))
	return ids
}

// records counts the records of a space.
func (e *env) records(space efs.Space) (n int) {
	e.t.Helper()
	e.check(e.scan(ctx, space, nil, scanPage, func(*efs.Record) error { n++; return nil }))
	return n
}

// data returns n bytes that look random, the same for the same seed.
func data(seed uint64, n int) []byte {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	b := make([]byte, n)
	_, _ = io.ReadFull(rand.NewChaCha8(s), b)
	return b
}

func digest(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

const (
	inlineSize = 1000
	blobSize   = 50_000
)

// must is for steps whose failure means that the test itself is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
