package access

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
)

func TestCreateUser(t *testing.T) {
	d, store := newDirectory(t)
	key := newPublic(t)
	issued, err := d.CreateUser(ctx, "app1", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs, user, err := pki.Identity(issued.Certificate)
	if err != nil || fs != "user-data" || user != "app1" {
		t.Errorf("certificate is for %s in %s (%v)", user, fs, err)
	}
	if user, err := d.Judge(ctx, issued.Certificate); err != nil || user != "app1" {
		t.Errorf("Judge: %q, %v", user, err)
	}
	if user, ok := d.CertificateUser(pki.Fingerprint(issued.Certificate)); !ok || user != "app1" {
		t.Errorf("CertificateUser: %q, %v", user, ok)
	}
	if keys := d.SigningKeys("app1"); len(keys) != 1 || keys[0].Fingerprint() != key.Fingerprint() {
		t.Error("the key is not the one given")
	}
	var types []string
	for rest := issued.Bundle; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		types = append(types, b.Type)
	}
	if !slices.Equal(types, []string{"CERTIFICATE", "PRIVATE KEY", "CERTIFICATE"}) {
		t.Errorf("bundle holds %v", types)
	}

	again, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	if user, err := again.Judge(ctx, issued.Certificate); err != nil || user != "app1" {
		t.Errorf("Judge after opening again: %q, %v", user, err)
	}
	a, _ := d.GetUser(ctx, "app1")
	b, err := again.GetUser(ctx, "app1")
	if err != nil || a.Certificates[0] != b.Certificates[0] || !a.Created.Equal(b.Created) || a.Keys[0].Fingerprint != b.Keys[0].Fingerprint {
		t.Errorf("user after opening again: %+v, %v, want %+v", b, err, a)
	}
}

func TestCreateUserIsAllOrNothing(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "app1")
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	before := maps.Clone(store.records)
	for name, c := range map[string]struct {
		user string
		tls  any
		want error
	}{
		"exists":   {"app1", nil, efs.ErrExists},
		"empty":    {"", nil, efs.ErrBadInput},
		"slash":    {"../x", nil, efs.ErrBadInput},
		"newline":  {"a\nb", nil, efs.ErrBadInput},
		"dot":      {".hidden", nil, efs.ErrBadInput},
		"long":     {strings.Repeat("a", 64), nil, efs.ErrBadInput},
		"weak key": {"app2", weak, efs.ErrBadInput},
	} {
		if _, err := d.CreateUser(ctx, c.user, newPublic(t), c.tls); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	store.fail = efs.ErrNoSpace
	if _, err := d.CreateUser(ctx, "app3", newPublic(t), nil); !errors.Is(err, efs.ErrNoSpace) {
		t.Errorf("full disk: %v", err)
	}
	store.fail = nil
	if !maps.EqualFunc(before, store.records, func(a, b efs.AccessRecord) bool { return a.Version == b.Version }) {
		t.Error("a refused user left records behind")
	}
	if users, _ := d.ListUsers(ctx); len(users) != 1 {
		t.Errorf("%d users, want 1", len(users))
	}
	create(t, d, "app3")
}

func TestJudge(t *testing.T) {
	d, _ := newDirectory(t)
	other, _ := newDirectory(t)
	issued := create(t, d, "app1")
	foreign := create(t, other, "app1")
	gone := create(t, d, "app2")
	if err := d.DeleteUser(ctx, "app2"); err != nil {
		t.Fatal(err)
	}
	revoked := create(t, d, "app3")
	if err := d.Revoke(ctx, "app3"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		want error
	}{
		"valid":                    {issued.Certificate, nil},
		"none":                     {nil, ErrCertificateRequired},
		"of another authority":     {foreign.Certificate, ErrCertificateUnknown},
		"of a deleted user":        {gone.Certificate, ErrCertificateUnknown},
		"revoked":                  {revoked.Certificate, ErrCertificateRevoked},
		"self-made, same name":     {selfMade(t), ErrCertificateUnknown},
		"the authority's own":      {d.authority().Certificate(), ErrCertificateUnknown},
		"same key, other contents": {reissued(t, d, issued), ErrCertificateUnknown},
	} {
		if _, err := d.Judge(ctx, c.cert); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	d.now = func() time.Time { return time.Now().Add(pki.ClientTTL + time.Hour) }
	if _, err := d.Judge(ctx, issued.Certificate); !errors.Is(err, ErrCertificateExpired) {
		t.Errorf("expired: %v", err)
	}
	if _, err := d.Judge(ctx, gone.Certificate); !errors.Is(err, ErrCertificateExpired) {
		t.Errorf("expired, of a deleted user: %v", err)
	}
	if _, err := d.Judge(ctx, foreign.Certificate); !errors.Is(err, ErrCertificateUnknown) {
		t.Errorf("expired, of another authority: %v", err)
	}
	if _, err := d.Judge(ctx, revoked.Certificate); !errors.Is(err, ErrCertificateRevoked) {
		t.Errorf("expired and revoked: %v", err)
	}
	if _, ok := d.CertificateUser(pki.Fingerprint(issued.Certificate)); ok {
		t.Error("CertificateUser takes an expired certificate")
	}
}

// selfMade is a certificate by an authority of the same name.
func selfMade(t *testing.T) *x509.Certificate {
	t.Helper()
	d, _ := newDirectory(t)
	return create(t, d, "app1").Certificate
}

// reissued is signed by the right authority, for the right user, but was never
// noted: as one would be that somebody made with a stolen authority key.
func reissued(t *testing.T, d *Directory, like *Issued) *x509.Certificate {
	t.Helper()
	_, cert, err := d.authority().IssueClient("user-data", "app1", like.Certificate.PublicKey, pki.ClientTTL)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestRenew(t *testing.T) {
	d, store := newDirectory(t)
	first := create(t, d, "app1")
	csr := newCSR(t)
	second, err := d.Renew(ctx, "app1", csr)
	if err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*x509.Certificate{first.Certificate, second.Certificate} {
		if user, err := d.Judge(ctx, cert); err != nil || user != "app1" {
			t.Errorf("Judge: %q, %v", user, err)
		}
	}
	if _, user, err := pki.Identity(second.Certificate); err != nil || user != "app1" {
		t.Errorf("the request's subject decided: %q, %v", user, err)
	}
	if strings.Contains(string(second.Bundle), "PRIVATE KEY") {
		t.Error("a renewal knows a private key")
	}
	if _, err := d.Renew(ctx, "nobody", csr); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("unknown user: %v", err)
	}
	if _, err := d.Renew(ctx, "app1", []byte("garbage")); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("garbage: %v", err)
	}

	// Another process changes the user in between: both changes hold.
	other, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	store.before = func() {
		if err := other.AddKey(ctx, "app1", newPublic(t)); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Renew(ctx, "app1", csr); err != nil {
		t.Fatal(err)
	}
	if u, _ := d.GetUser(ctx, "app1"); len(u.Keys) != 2 || len(u.Certificates) != 3 {
		t.Errorf("%d keys, %d certificates, want 2 and 3", len(u.Keys), len(u.Certificates))
	}

	if err := d.Revoke(ctx, "app1"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Renew(ctx, "app1", csr); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("revoked user: %v", err)
	}
}

func TestCertificatesAreBoundedAndForgotten(t *testing.T) {
	d, _ := newDirectory(t)
	create(t, d, "app1")
	csr := newCSR(t)
	for range MaxCertificates - 1 {
		if _, err := d.Renew(ctx, "app1", csr); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Renew(ctx, "app1", csr); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("one too many: %v", err)
	}
	d.now = func() time.Time { return time.Now().Add(pki.ClientTTL + keepExpired + time.Hour) }
	if _, err := d.Renew(ctx, "app1", csr); err != nil {
		t.Errorf("after the others expired: %v", err)
	}
	if u, _ := d.GetUser(ctx, "app1"); len(u.Certificates) != 1 {
		t.Errorf("%d certificates kept", len(u.Certificates))
	}
}

func TestKeys(t *testing.T) {
	d, _ := newDirectory(t)
	first := newPublic(t)
	if _, err := d.CreateUser(ctx, "app1", first, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveKey(ctx, "app1", first.Fingerprint()); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("removing the last key: %v", err)
	}
	if err := d.AddKey(ctx, "app1", first); !errors.Is(err, efs.ErrExists) {
		t.Errorf("adding a key twice: %v", err)
	}
	second := newPublic(t)
	if err := d.AddKey(ctx, "app1", second); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveKey(ctx, "app1", strings.ToLower(first.Fingerprint())); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveKey(ctx, "app1", first.Fingerprint()); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("removing a key twice: %v", err)
	}
	if keys := d.SigningKeys("app1"); len(keys) != 1 || keys[0].Fingerprint() != second.Fingerprint() {
		t.Error("the second key is not the one that is left")
	}
	for range MaxKeys - 1 {
		if err := d.AddKey(ctx, "app1", newPublic(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.AddKey(ctx, "app1", newPublic(t)); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("one key too many: %v", err)
	}
}

func TestOnChange(t *testing.T) {
	d, store := newDirectory(t)
	var told []string
	d.OnChange(func(user string) {
		if d.SigningKeys(user) != nil {
			told = append(told, user+" who may still sign")
			return
		}
		told = append(told, user)
	})
	create(t, d, "app1")
	create(t, d, "app2")
	generation := d.Generation()
	if err := d.Revoke(ctx, "app1"); err != nil {
		t.Fatal(err)
	}
	if d.Generation() == generation {
		t.Error("a revocation leaves the generation as it was")
	}
	if err := d.DeleteUser(ctx, "app2"); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteUser(ctx, "app2"); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("deleting twice: %v", err)
	}
	store.fail = efs.ErrStopped
	if err := d.Revoke(ctx, "app1"); !errors.Is(err, efs.ErrStopped) {
		t.Errorf("a failed store: %v", err)
	}
	if want := []string{"app1", "app2"}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}

// A store that stores and then fails: what it holds counts, and everybody is
// told.
func TestChangeStoredButNotConfirmed(t *testing.T) {
	d, store := newDirectory(t)
	revoked, deleted := create(t, d, "app1"), create(t, d, "app2")
	told := 0
	d.OnChange(func(string) { told++ })
	store.failAfter = efs.ErrUnavailable
	if err := d.Revoke(ctx, "app1"); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("revoking: %v", err)
	}
	if err := d.DeleteUser(ctx, "app2"); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("deleting: %v", err)
	}
	if _, err := d.Judge(ctx, revoked.Certificate); !errors.Is(err, ErrCertificateRevoked) {
		t.Errorf("revoked on disk: %v", err)
	}
	if _, err := d.Judge(ctx, deleted.Certificate); !errors.Is(err, ErrCertificateUnknown) || d.SigningKeys("app2") != nil {
		t.Errorf("deleted on disk: %v", err)
	}
	if told != 2 {
		t.Errorf("told %d times", told)
	}
	if _, err := d.CreateUser(ctx, "app3", newPublic(t), nil); !errors.Is(err, efs.ErrUnavailable) {
		t.Errorf("creating: %v", err)
	}
	store.failAfter = nil
	if _, err := d.GetUser(ctx, "app3"); err != nil {
		t.Errorf("created on disk: %v", err)
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	_, store := newDirectory(t)
	d, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(ctx, "user-data", store); !errors.Is(err, efs.ErrExists) {
		t.Errorf("a second authority: %v", err)
	}
	create(t, d, "app1")
	good := store.records["user/app1"]
	for name, value := range map[string][]byte{
		"garbage":      []byte("garbage"),
		"cut":          good.Value[:len(good.Value)-1],
		"of another":   nil,
		"newer format": {0xa1, 0x01, 0x03},
	} {
		bad := efs.AccessRecord{Name: "app1", Value: value, Version: good.Version}
		if value == nil {
			bad.Name, bad.Value = "app2", good.Value
		}
		store.records["user/app1"] = bad
		_, err := Open(ctx, "user-data", store)
		if !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if errors.Is(err, errNewer) != (name == "newer format") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(ctx, "user-data", newMemory()); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("no authority: %v", err)
	}
}

func TestManyUsers(t *testing.T) {
	d, store := newDirectory(t)
	key := newPublic(t)
	tls, err := pki.ParseCSR(newCSR(t))
	if err != nil {
		t.Fatal(err)
	}
	const n = 600
	for i := range n {
		name := "u" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		if _, err := d.CreateUser(ctx, name, key, tls); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(ctx, "user-data", store)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := d.ListUsers(ctx)
	b, _ := again.ListUsers(ctx)
	if len(a) != n || len(b) != n || !slices.EqualFunc(a, b, func(x, y *User) bool { return x.Name == y.Name }) {
		t.Errorf("%d and %d users, want %d", len(a), len(b), n)
	}
}

// What an administrator's list shows survives its JSON form.
func TestUserJSON(t *testing.T) {
	d, _ := newDirectory(t)
	issued := create(t, d, "app1")
	list, err := d.ListUsers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var got []User
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got[0].Certificates[0].SHA256.String() != pki.Fingerprint(issued.Certificate) || got[0].Keys[0].Fingerprint != list[0].Keys[0].Fingerprint {
		t.Errorf("%s", text)
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 64)} {
		if err := new(Digest).UnmarshalText([]byte(bad)); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	d, _ := newDirectory(b)
	cert := create(b, d, "app1").Certificate
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Judge(ctx, cert); err != nil {
			b.Fatal(err)
		}
	}
}
