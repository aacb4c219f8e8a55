package fsys

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/keyring"
)

// receipts waits until so many receipts are kept.
func (e *env) receipts(want int) {
	e.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if len(must(e.Receipts(ctx))) == want {
			return
		}
		e.work.kick()
	}
	e.t.Fatalf("%d receipts are kept, want %d", len(must(e.Receipts(ctx))), want)
}

// A forgetting that cannot go on, as its keys are away, goes on in the same
// process when they are back.
func TestAForgettingThatFailedGoesOnByItself(t *testing.T) {
	away := true
	e := newEnv(t, patients, func(e *env) {
		_, key := must2(ed25519.GenerateKey(nil))
		e.wrap = func(o *Options) {
			o.SignReceipt = func() (ed25519.PrivateKey, error) {
				if away {
					return nil, efs.ErrUnavailable
				}
				return append(ed25519.PrivateKey{}, key...), nil
			}
		}
	})
	e.put("patients/1/f", data(1, inlineSize))
	_, err := e.Forget(ctx, Who{}, "patients/1", "")
	e.refused("without a key for receipts", err, efs.ErrUnavailable)
	e.erasing.forgetting.Lock()
	away = false
	e.erasing.forgetting.Unlock()
	e.receipts(1)
	e.clean()
}

// The key store was lost in between, and put back from before a unit was made.
func TestAForgettingEndsWithoutAUnitThatTheKeyStoreDoesNotKnow(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", data(1, inlineSize))
	unit := e.unitAt("patients/1")
	id, job := efs.NewTimeID(), &forgetting{Subject: []byte("…"), Begun: e.now()}
	e.check(e.beginForget(ctx, []string{"patients", "1"}, Who{}, id, job))
	job.Units = append(job.Units, efs.NewID())
	e.check(e.noteForgotten(ctx, id, job))
	e.reopen()
	e.receipts(1)
	_, err := e.keys.Unit(unit)
	e.refused("the unit's key", err, efs.ErrForgotten)
}

// An older copy of keys.db is put back: it has the key of what was forgotten.
func TestAKeyThatAnOldKeyStoreBringsBackIsDestroyedAgain(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", data(1, inlineSize))
	e.put("patients/2/f", data(2, inlineSize))
	unit := e.unitAt("patients/1")
	e.check(e.sweepUnits(ctx, e.now())) // keys of units that were not made are not what this is about
	old := must(os.ReadFile(e.path("keys.db")))
	e.forgetIt("patients/1")
	e.close()
	e.check(e.ring.Close())
	e.check(os.WriteFile(e.path("keys.db"), old, 0o600))
	var err error
	e.ring, err = keyring.Open(e.path("keys.db"), map[string]efs.KMS{"local": e.kms}, keyring.Options{})
	e.check(err)
	e.keys, err = e.ring.Keys(ctx, e.id)
	e.check(err)
	if _, err := e.keys.Unit(unit); err != nil {
		t.Fatalf("the old key store does not have the key: %v", err)
	}
	e.check(e.tryOpen())
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := e.keys.Unit(unit); errors.Is(err, efs.ErrForgotten) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the key of what was forgotten is back: %v", err)
		}
	}
	e.holds("patients/2/f", data(2, inlineSize))
	e.clean()
}

// A unit in a tree that was deleted is forgotten also before that is emptied.
func TestWhatIsBeingDeletedIsForgotten(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", data(1, inlineSize))
	unit := e.unitAt("patients/1")
	e.work.keeping.Lock()
	e.check(e.Remove(ctx, "patients", RemoveOptions{Recursive: true}))
	e.work.keeping.Unlock()
	if r := e.forgetIt("patients/1"); len(r.Units) != 1 || r.Units[0] != unit {
		t.Errorf("the receipt says %+v", r)
	}
	e.clean()
}

// An index from the past was accepted, the process was killed at once, and the
// next start does not know of it: keys of units that only the newer index has stay.
func TestAcceptingAnOldIndexSparesKeysAlsoAfterACrash(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.close()
	backup := t.TempDir()
	copyTree(t, e.path("index.db"), filepath.Join(backup, "index.db"))
	e.check(e.tryOpen())
	e.put("patients/1/f", data(1, inlineSize))
	unit := e.unitAt("patients/1")
	e.close()
	e.check(os.Remove(e.path("index.db")))
	copyTree(t, filepath.Join(backup, "index.db"), e.path("index.db"))

	sealer, err := HeadSealer(e.id, e.keys)
	e.check(err)
	index, err := bolt.Open(e.path("index.db"), e.id, sealer, e.index)
	e.check(err)
	blobs, err := dir.Open(e.path("files"), e.files)
	e.check(err)
	o := e.options(index, blobs)
	o.AcceptRollback = true
	fs, err := assemble(o)
	e.check(err)
	e.check(fs.checkAnchor(ctx)) // and no further
	e.check(errors.Join(blobs.Close(), index.Close()))

	e.check(e.tryOpen())
	e.check(e.sweepUnits(ctx, e.now()))
	if _, err := e.keys.Unit(unit); err != nil {
		t.Errorf("the key of a unit that the newer index has: %v", err)
	}
}

// A unit that is being converted keeps back the forgetting of no other.
func TestForgettingDoesNotWaitForAnothersConversion(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", nil)
	e.erasing.converting.Lock()
	defer e.erasing.converting.Unlock()
	e.forgetIt("patients/1")
}

// The path that counts is the one at the end, also where a directory above was
// renamed before it was deleted.
func TestWhatWasDeletedIsForgottenByItsLastPath(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", data(1, inlineSize))
	unit := e.unitAt("patients/1")
	_, err := e.Mkdir(ctx, "old", MkdirOptions{})
	e.check(err)
	_, err = e.Move(ctx, "patients", "old/archive", MoveOptions{})
	e.check(err)
	e.check(e.Remove(ctx, "old", RemoveOptions{Recursive: true}))
	e.idle()
	_, err = e.Forget(ctx, Who{}, "patients/1", "")
	e.refused("by the path before", err, efs.ErrNotFound)
	if r := e.forgetIt("old/archive/1"); len(r.Units) != 1 || r.Units[0] != unit {
		t.Errorf("the receipt says %+v", r)
	}
	e.clean()
}
