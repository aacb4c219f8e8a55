package access

import (
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func own(user string) Holder { return Holder{User: user, Realm: "user-data"} }

func on(path string) Resource { return Resource{FS: "user-data", Path: path} }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsersHaveEverythingUntilSomethingElseIsSaid(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "app1")
	if !d.Rights("app1").All() || !d.Rights("nobody").None() {
		t.Fatal("a user does not have everything, or nobody has something")
	}
	generation := d.Generation()
	ok(t, d.RevokeGrant(ctx, own("app1"), on("/"), Delete))
	if d.Generation() == generation {
		t.Error("the generation stayed what it was")
	}
	again, err := Open(ctx, "user-data", store)
	ok(t, err)
	for what, d := range map[string]*Directory{"at once": d, "opened again": again} {
		if r := d.Rights("app1"); r.All() || r.May(Delete, "a") || !r.May(Read|Write|List, "a") {
			t.Errorf("%s: %+v", what, r)
		}
	}

	// What is granted to such a user is added, and the rest taken away later.
	create(t, d, "app2")
	ok(t, d.Grant(ctx, own("app2"), on("/patients/"), Reader))
	if !d.Rights("app2").All() {
		t.Error("a grant took something away")
	}
	ok(t, d.RevokeGrant(ctx, own("app2"), on("/"), Writer))
	if r := d.Rights("app2"); !r.May(Reader, "patients/1") || r.May(Read, "patients2") || r.May(Write, "patients") {
		t.Errorf("%+v", r)
	}
	ok(t, d.RevokeGrant(ctx, own("app2"), on("/patients"), Reader))
	if !d.Rights("app2").None() {
		t.Error("without any grant there are rights")
	}
	ok(t, d.Reload(ctx))
	if !d.Rights("app2").None() {
		t.Error("whoever lost everything has it back after reading again")
	}
}

// Whoever can put one old record back does not make a user's rights everything.
func TestAnOldRecordOfAUserGivesNothingBack(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "app1")
	old := store.records["user/app1"]
	ok(t, d.Grant(ctx, own("app1"), on("/a"), Read))
	ok(t, d.RevokeGrant(ctx, own("app1"), on("/"), Writer))
	store.records["user/app1"] = old
	ok(t, d.Reload(ctx))
	if r := d.Rights("app1"); r.All() || !r.May(Read, "a") || r.May(Read, "b") {
		t.Errorf("%+v", r)
	}
	ok(t, d.Grant(ctx, own("app1"), on("/b"), Read))
	if r := d.Rights("app1"); r.All() || !r.May(Read, "b") {
		t.Errorf("after another grant: %+v", r)
	}
}

func TestAUserWithoutGrants(t *testing.T) {
	d, _ := newDirectory(t)
	_, err := d.CreateUserWithoutGrants(ctx, "app1", newPublic(t), nil)
	ok(t, err)
	if !d.Rights("app1").None() {
		t.Error("there are rights")
	}
	ok(t, d.Grant(ctx, own("app1"), on("/a"), Read))
	ok(t, d.Revoke(ctx, "app1"))
	if !d.Rights("app1").None() {
		t.Error("a revoked user has rights")
	}
	ok(t, d.DeleteUser(ctx, "app1"))
	create(t, d, "app1")
	if !d.Rights("app1").All() || len(d.Holdings("")) > 0 {
		t.Error("the next of that name came into grants")
	}
}

func TestGrantsAreOfTheHolderAndNotOfTheName(t *testing.T) {
	d, _ := newDirectory(t)
	carol := Holder{User: "carol", Realm: "other", RealmID: efs.NewID(), Created: time.Unix(1e9, 0).UTC()}
	ok(t, d.Grant(ctx, carol, on("/a"), Reader))
	ok(t, d.Reload(ctx))
	if !d.RightsOf(carol).May(Reader, "a/b") {
		t.Error("carol may not")
	}
	later, elsewhere := carol, carol
	later.Created = carol.Created.Add(time.Second)
	elsewhere.RealmID = efs.NewID()
	for what, h := range map[string]Holder{"a later user": later, "a later file system": elsewhere, "another": {User: "x", Realm: "other"}} {
		if !d.RightsOf(h).None() {
			t.Errorf("%s has the grants", what)
		}
	}
	ok(t, d.Grant(ctx, later, on("/b"), Read))
	if r := d.RightsOf(later); r.May(Read, "a") || !r.May(Read, "b") || !d.RightsOf(carol).None() {
		t.Error("grants of two holders of one name were mixed")
	}
	ok(t, d.DropGrants(ctx, func(p Principal) bool { return p.Realm == "other" }, nil))
	if len(d.Holdings("")) > 0 {
		t.Error("dropped grants are there")
	}
}

func TestBadGrantsChangeNothing(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "app1")
	before := maps.Clone(store.records)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"nobody":             {d.Grant(ctx, own("nobody"), on("/"), Read), efs.ErrNotFound},
		"manage on a path":   {d.Grant(ctx, own("app1"), on("/a"), Manage), efs.ErrBadInput},
		"a key's on a path":  {d.Grant(ctx, own("app1"), on("/"), KMSUse), efs.ErrBadInput},
		"a path's on a key":  {d.Grant(ctx, own("app1"), Resource{Provider: "local", Key: "k"}, Read), efs.ErrBadInput},
		"nothing":            {d.Grant(ctx, own("app1"), on("/a"), 0), efs.ErrBadInput},
		"not granted":        {d.RevokeGrant(ctx, own("app1"), on("/a"), Manage), efs.ErrNotFound},
		"by a wider grant":   {d.RevokeGrant(ctx, own("app1"), on("/a"), Read), efs.ErrRefused},
		"revoke from nobody": {d.RevokeGrant(ctx, own("nobody"), on("/"), Read), efs.ErrNotFound},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	if !maps.EqualFunc(before, store.records, func(a, b efs.AccessRecord) bool { return a.Version == b.Version }) || !d.Rights("app1").All() {
		t.Error("something changed")
	}
}

// Whoever loses a grant is told of before the call returns, also where it is
// unclear whether it was stored; then what the store holds counts.
func TestRevokingAGrantIsTold(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "app1")
	var told []string
	d.OnRevoke(func(p Principal) {
		if d.Rights(p.User).May(Write, "") {
			told = append(told, "too early")
		}
		told = append(told, p.String())
	})
	ok(t, d.Grant(ctx, own("app1"), on("/a"), Read))
	ok(t, d.RevokeGrant(ctx, own("app1"), on("/"), Write))
	store.failAfter = efs.ErrUnavailable
	if err := d.RevokeGrant(ctx, own("app1"), on("/"), Read); !errors.Is(err, efs.ErrUnavailable) {
		t.Error(err)
	}
	if d.Rights("app1").May(Read, "b") {
		t.Error("revoked in the store, and permitted here")
	}
	store.fail, store.failAfter = efs.ErrStopped, nil
	if err := d.RevokeGrant(ctx, own("app1"), on("/"), List); !errors.Is(err, efs.ErrStopped) || !d.Rights("app1").May(List, "b") {
		t.Errorf("not revoked in the store: %v", err)
	}
	if len(told) < 2 || slices.Contains(told, "too early") {
		t.Errorf("told: %q", told)
	}
}

// secrets is a Box without a disk.
type secrets struct {
	mu   sync.Mutex
	all  map[string][]byte
	fail error
}

func (s *secrets) Get(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.all[name]; ok {
		return slices.Clone(b), nil
	}
	return nil, efs.ErrNotFound
}

func (s *secrets) Put(name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.all[name] = slices.Clone(value)
	return nil
}

func TestTheServersOwnRealm(t *testing.T) {
	box := &secrets{all: map[string][]byte{}}
	d, err := OpenRealm(ctx, box)
	ok(t, err)
	issued := create(t, d, "root1")
	create(t, d, "root2")
	holder := Holder{User: "app1", Realm: "user-data", RealmID: efs.NewID(), Created: time.Unix(1e9, 0).UTC()}
	key := Resource{Provider: "vault", Key: "k"}
	ok(t, d.Grant(ctx, holder, key, KMSUse))
	ok(t, d.DeleteUser(ctx, "root2"))

	again, err := OpenRealm(ctx, box)
	ok(t, err)
	if user, err := again.Judge(ctx, issued.Certificate); user != "root1" || err != nil {
		t.Errorf("%q, %v", user, err)
	}
	if users, err := again.ListUsers(ctx); err != nil || len(users) != 1 {
		t.Errorf("%d users, %v", len(users), err)
	}
	if !again.RightsOf(holder).MayKey(KMSUse, "vault", "k") {
		t.Error("the grant on a key is gone")
	}
	box.fail = efs.ErrNoSpace
	if _, err := again.CreateUser(ctx, "root3", newPublic(t), nil); !errors.Is(err, efs.ErrNoSpace) {
		t.Error(err)
	}
	box.fail = nil
	box.all[realmSecret] = box.all[realmSecret][:100]
	if _, err := OpenRealm(ctx, box); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("a cut secret: %v", err)
	}
}

// Records of every format that was ever written open. With EFS_UPDATE set,
// examples that are missing are written, of what is written now.
func TestRecordsOfEveryFormat(t *testing.T) {
	d, store := newDirectory(t)
	create(t, d, "plain")
	create(t, d, "explicit")
	ok(t, d.Grant(ctx, own("explicit"), on("/patients/"), Reader))
	box := &secrets{all: map[string][]byte{}}
	_, err := OpenRealm(ctx, box)
	ok(t, err)
	now := map[string][]byte{
		"user-1":  store.records["user/plain"].Value,
		"user-2":  store.records["user/explicit"].Value,
		"grant-1": store.records["grant/explicit@user-data"].Value,
		"realm-1": box.all[realmSecret],
	}
	for name, written := range now {
		file := filepath.Join("testdata", name+".hex")
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && os.Getenv("EFS_UPDATE") != "" {
			ok(t, os.WriteFile(file, []byte(hex.EncodeToString(written)+"\n"), 0o644))
			continue
		}
		ok(t, err)
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		ok(t, err)
		switch name {
		case "user-1":
			u, err := decodeUser("plain", b)
			if err != nil || u.Explicit || len(u.Keys) != 1 || len(u.Certificates) != 1 {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
		case "user-2":
			if u, err := decodeUser("explicit", b); err != nil || !u.Explicit {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
		case "grant-1":
			h, err := decodeHolding("explicit@user-data", b)
			if err != nil || len(h.Grants) != 2 || h.Grants[1].On != "/patients/" || h.Grants[1].Permissions != Reader {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
		case "realm-1":
			if _, err := OpenRealm(ctx, &secrets{all: map[string][]byte{realmSecret: b}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
