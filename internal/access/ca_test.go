package access

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
)

// After the authority was exchanged, both kinds of certificate are good; who
// checks chains finds both authorities in ca.crt for as long.
func TestRotateCA(t *testing.T) {
	d, store := newDirectory(t)
	dir := t.TempDir()
	d.ExportTo(dir, d.logger)
	before, oldPEM := create(t, d, "app1"), d.authority().PEM()
	next, err := d.RotateCA(ctx)
	if err != nil {
		t.Fatal(err)
	}
	after := create(t, d, "app2")
	if after.Certificate.CheckSignatureFrom(next) != nil || before.Certificate.CheckSignatureFrom(next) == nil {
		t.Error("the new authority did not issue the new certificate")
	}
	check := func(d *Directory) {
		t.Helper()
		for user, issued := range map[string]*Issued{"app1": before, "app2": after} {
			if got, err := d.Judge(ctx, issued.Certificate); err != nil || got != user {
				t.Errorf("%s: %q, %v", user, got, err)
			}
		}
		if want := append(pki.EncodeCertificate(next), oldPEM...); !bytes.Equal(d.CA(), want) {
			t.Errorf("the authorities are %s", d.CA())
		}
	}
	check(d)
	if exported, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(exported, d.CA()) {
		t.Errorf("ca.crt was not exported (%v)", err)
	}
	again, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	check(again)
	again.now = func() time.Time { return time.Now().Add(pki.ClientTTL + time.Hour) }
	if !bytes.Equal(again.CA(), pki.EncodeCertificate(next)) {
		t.Error("the old authority stays though all that it issued has ended")
	}
	if _, err := again.Judge(ctx, reissued(t, d, before)); !errors.Is(err, ErrCertificateExpired) && !errors.Is(err, ErrCertificateUnknown) {
		t.Errorf("a certificate that ended: %v", err)
	}
}

func TestRotateCAIsAllOrNothing(t *testing.T) {
	d, store := newDirectory(t)
	was := d.CA()
	store.fail = efs.ErrNoSpace
	if _, err := d.RotateCA(ctx); !errors.Is(err, efs.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	store.fail = nil
	again, err := Open(ctx, "user-data", store)
	if err != nil || !bytes.Equal(d.CA(), was) || !bytes.Equal(again.CA(), was) {
		t.Errorf("a refused rotation changed the authority (%v)", err)
	}
}
