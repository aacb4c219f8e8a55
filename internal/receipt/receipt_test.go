package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func some(t *testing.T) (document, salt []byte, key ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	salt = NewSalt()
	r := &Receipt{Format: Format, ID: efs.NewID(), FS: efs.NewID(), Units: []efs.ID{efs.NewID()}, Reason: "Art. 17 <GDPR>",
		Subject: Subject(salt, "patients/173"), Requested: time.Unix(1, 0).UTC(), Files: 3}
	if document, err = Sign(r, private); err != nil {
		t.Fatal(err)
	}
	return document, salt, public
}

func TestASignedReceiptVerifiesHoweverItIsLaidOut(t *testing.T) {
	document, salt, key := some(t)
	var compact bytes.Buffer
	if err := json.Compact(&compact, document); err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]byte{document, compact.Bytes()} {
		r, by, err := Verify(d)
		if err != nil || !by.Equal(key) {
			t.Fatalf("verifying: %v", err)
		}
		if r.Files != 3 || r.Reason != "Art. 17 <GDPR>" {
			t.Errorf("it says %+v", r)
		}
		if !r.IsAbout("patients/173", salt) || r.IsAbout("patients/174", salt) || r.IsAbout("patients/173", NewSalt()) {
			t.Error("it is about another path")
		}
	}
}

func TestAnAlteredReceiptIsRefused(t *testing.T) {
	document, _, _ := some(t)
	_, _, err := Verify(bytes.Replace(document, []byte(`"files": 3`), []byte(`"files": 4`), 1))
	if !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("altered: %v", err)
	}
	other, _, _ := some(t)
	var a, b Signed
	if err := errors.Join(json.Unmarshal(document, &a), json.Unmarshal(other, &b)); err != nil {
		t.Fatal(err)
	}
	a.Key = b.Key
	exchanged, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Verify(exchanged); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	for _, s := range []string{"", "{}", "[]", string(document) + "{}", string(document) + "}", `{"receipt":{},"key":"","signature":""}`} {
		if _, _, err := Verify([]byte(s)); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}
