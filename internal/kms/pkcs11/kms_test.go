//go:build pkcs11

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/kmstest"
	"github.com/miekg/pkcs11"
)

const (
	pin    = "4711-user"
	tokens = 48 // made before the library is loaded, which looks for them once
)

var (
	library string
	pinFile string
	taken   atomic.Int64
)

// TestMain makes the tokens of a SoftHSM 2. These tests need it: without it
// they fail.
func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			library = path
		}
	}
	if library == "" {
		return 1, errors.New("SoftHSM 2 is missing: scripts/deps test installs it")
	}
	dir, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	pinFile = filepath.Join(dir, "pin")
	if err := errors.Join(os.WriteFile(conf, []byte(text), 0o600), os.WriteFile(pinFile, []byte(pin+"\n"), 0o600)); err != nil {
		return 1, err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return 1, err
	}
	for i := range tokens {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label(i), "--pin", pin, "--so-pin", "0815-officer").CombinedOutput()
		if err != nil {
			return 1, fmt.Errorf("softhsm2-util: %w: %s", err, out)
		}
	}
	return m.Run(), nil
}

func label(i int) string { return fmt.Sprintf("efs-test-%d", i) }

// fresh are the options of a KMS on a token that nobody has used.
func fresh(t *testing.T) Config {
	t.Helper()
	i := int(taken.Add(1)) - 1
	if i >= tokens {
		t.Fatal("no token is left: make more in TestMain")
	}
	return Config{Module: library, Token: label(i), PINFile: pinFile}
}

func mustOpen(t *testing.T, c Config, now func() time.Time, every time.Duration) *KMS {
	t.Helper()
	k, err := open("hsm", c, now, every)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestConformance(t *testing.T) {
	c := kmstest.NewClock(time.Now())
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			c.Advance(time.Since(c.Now())) // back to the present
			return mustOpen(t, fresh(t), c.Now, time.Hour)
		},
		Reopen:  func(t *testing.T, k efs.KMS) efs.KMS { return mustOpen(t, k.(*KMS).c, c.Now, time.Hour) },
		Advance: func(_ *testing.T, _ efs.KMS, d time.Duration) { c.Advance(d) },
	})
}

// Without states on the token a KMS wraps and rotates, and says what it does
// not do.
func TestConformanceWithoutStates(t *testing.T) {
	kmstest.Run(t, kmstest.Harness{
		New: func(t *testing.T) efs.KMS {
			c := fresh(t)
			c.State = "none"
			return mustOpen(t, c, time.Now, time.Hour)
		},
		Reopen:      func(t *testing.T, k efs.KMS) efs.KMS { return mustOpen(t, k.(*KMS).c, time.Now, time.Hour) },
		Unsupported: []string{"UpdateKey", "EnableKey", "DisableKey", "ScheduleDeletion", "CancelDeletion"},
	})
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// onToken runs f with a session of the KMS.
func onToken[T any](t *testing.T, k *KMS, f func(*session) (T, error)) T {
	t.Helper()
	v, err := ask(t.Context(), k.token, nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The token gives nobody the bytes of a master key.
func TestKeysStayInTheToken(t *testing.T) {
	k := mustOpen(t, fresh(t), time.Now, time.Hour)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	err := onToken(t, k, func(s *session) (error, error) {
		versions, err := s.versions("a")
		if err != nil || len(versions) != 1 {
			return nil, fmt.Errorf("%d versions, %w", len(versions), err)
		}
		flags, err := s.read(versions[0].handle, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_LOCAL)
		if err != nil || flags[0][0] != 1 || flags[1][0] != 0 || flags[2][0] != 1 {
			return nil, fmt.Errorf("sensitive, extractable, made here: %v, %w", flags, err)
		}
		_, err = s.read(versions[0].handle, pkcs11.CKA_VALUE)
		return err, nil
	})
	if !is(err, pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
		t.Errorf("reading a master key: %v", err)
	}
}

// A session that is lost is made anew: one call says that there was no answer,
// the next one works.
func TestSessionLost(t *testing.T) {
	k := mustOpen(t, fresh(t), time.Now, time.Hour)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	wrapped, err := k.Wrap(t.Context(), "a", make([]byte, 32), efs.Binding{})
	if err != nil {
		t.Fatal(err)
	}
	onToken(t, k, func(s *session) (struct{}, error) { return struct{}{}, s.ctx.CloseSession(s.handle) })
	_, err = k.Unwrap(t.Context(), "a", wrapped, efs.Binding{})
	wantError(t, "the first call after the loss", err, efs.ErrUnavailable)
	if _, err = k.Unwrap(t.Context(), "a", wrapped, efs.Binding{}); err != nil {
		t.Errorf("the second call: %v", err)
	}
}

// A token that hangs keeps nobody longer than the deadline.
func TestTokenHangs(t *testing.T) {
	k := mustOpen(t, fresh(t), time.Now, time.Hour)
	release := make(chan struct{})
	var stuck sync.WaitGroup
	started := make(chan struct{})
	stuck.Go(func() {
		_, _ = ask(context.Background(), k.token, nil, func(*session) (struct{}, error) {
			close(started)
			<-release
			return struct{}{}, nil
		})
	})
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := k.DescribeKey(ctx, "a")
	wantError(t, "a token that hangs", err, efs.ErrUnavailable)
	close(release)
	stuck.Wait()
	_, err = k.DescribeKey(t.Context(), "a")
	wantError(t, "the token that goes on", err, efs.ErrNotFound)
}

// A PIN that the token refuses is tried once, as tokens lock; another one in
// the file is tried.
func TestWrongPIN(t *testing.T) {
	c := fresh(t)
	c.PINFile = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(c.PINFile, []byte("wrong-pin"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := mustOpen(t, c, time.Now, time.Hour)
	for range 5 {
		wantError(t, "a wrong PIN", k.Ready(t.Context()), efs.ErrRefused)
	}
	if err := os.WriteFile(c.PINFile, []byte(pin), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Ready(t.Context()); err != nil {
		t.Errorf("the right PIN: %v", err)
	}
	if n := onToken(t, k, func(*session) (int, error) { return k.token.logins, nil }); n != 2 {
		t.Errorf("logged in %d times, want once with each PIN", n)
	}
}

// A token that is not there yet, or a library that is not, is a KMS that does
// not answer.
func TestNoToken(t *testing.T) {
	c := fresh(t)
	c.Token = "elsewhere"
	wantError(t, "a missing token", mustOpen(t, c, time.Now, time.Hour).Ready(t.Context()), efs.ErrUnavailable)
	c.Module = filepath.Join(t.TempDir(), "no.so")
	wantError(t, "a missing library", mustOpen(t, c, time.Now, time.Hour).Ready(t.Context()), efs.ErrUnavailable)
}

// What is due is destroyed on the token, keys and what was said about them; a
// new key of the same id has nothing to do with it.
func TestDueKeysAreDestroyed(t *testing.T) {
	c := kmstest.NewClock(time.Now())
	k := mustOpen(t, fresh(t), c.Now, time.Millisecond)
	if _, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{Description: "the first"}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.RotateKey(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ScheduleDeletion(t.Context(), "a", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		return onToken(t, k, func(s *session) (int, error) {
			all, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_LABEL, labelPrefix+"a"))
			return len(all), err
		})
	}
	if n := left(); n != 3 {
		t.Fatalf("%d objects, want two versions and what is said", n)
	}
	c.Advance(24 * time.Hour)
	gone := false
	for range 2000 {
		if gone = left() == 0; gone {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !gone {
		t.Fatal("the key is still on the token")
	}
	info, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{})
	if err != nil || info.Version != 1 || info.State != efs.KeyEnabled || info.Description != "" {
		t.Errorf("a new key of the same id: %+v, %v", info, err)
	}
}

// A deletion and a change of state that were cut off half-way leave nothing
// that holds for the wrong key, or for the wrong time.
func TestCutOff(t *testing.T) {
	k := mustOpen(t, fresh(t), time.Now, time.Hour)
	for _, id := range []string{"a", "b"} {
		if _, err := k.CreateKey(t.Context(), id, efs.KeyOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.ScheduleDeletion(t.Context(), id, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	onToken(t, k, func(s *session) (struct{}, error) { // the deletion of a, before its last step
		versions, err := s.versions("a")
		return struct{}{}, errors.Join(err, s.destroy(versions[0].handle))
	})
	if info, err := k.CreateKey(t.Context(), "a", efs.KeyOptions{}); err != nil || info.State != efs.KeyEnabled {
		t.Errorf("a new key: %+v, %v", info, err)
	}
	onToken(t, k, func(s *session) (struct{}, error) { // a change of b, before the old object is destroyed
		r, _, err := s.record("b")
		r.State, r.DeleteAt = efs.KeyDisabled, 0
		return struct{}{}, errors.Join(err, s.say("b", r, nil))
	})
	if info, err := k.EnableKey(t.Context(), "b"); err != nil || info.State != efs.KeyEnabled {
		t.Errorf("the newer of two: %+v, %v", info, err)
	}
	if n := onToken(t, k, func(s *session) (int, error) { _, all, err := s.record("b"); return len(all), err }); n != 1 {
		t.Errorf("%d data objects are left", n)
	}
}

func TestOptions(t *testing.T) {
	good := Config{Module: "m", Token: "t", PINFile: "p"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(*Config){
		"no module": func(c *Config) { c.Module = "" },
		"no token":  func(c *Config) { c.Token = "" },
		"no PIN":    func(c *Config) { c.PINFile = "" },
		"two PINs":  func(c *Config) { c.PINEnv = "PIN" },
		"no state":  func(c *Config) { c.State = "maybe" },
	} {
		c := good
		spoil(&c)
		_, err := New(t.Context(), "hsm", c)
		wantError(t, what, err, efs.ErrBadInput)
	}
	t.Setenv("TEST_HSM_PIN", pin)
	c := fresh(t)
	c.PINFile, c.PINEnv = "", "TEST_HSM_PIN"
	if err := mustOpen(t, c, time.Now, time.Hour).Ready(t.Context()); err != nil {
		t.Errorf("a PIN from the environment: %v", err)
	}
}

// The token's own keys are nobody's master keys.
func TestOtherKeysAreLeftAlone(t *testing.T) {
	k := mustOpen(t, fresh(t), time.Now, time.Hour)
	onToken(t, k, func(s *session) (pkcs11.ObjectHandle, error) {
		return s.ctx.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)},
			append(aesKeys(), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "theirs")))
	})
	if _, err := k.CreateKey(t.Context(), "ours", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	infos, err := k.ListKeys(t.Context())
	if err != nil || !slices.EqualFunc(infos, []string{"ours"}, func(i efs.KeyInfo, id string) bool { return i.ID == id }) {
		t.Errorf("%+v, %v", infos, err)
	}
}
