package server

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/starter"
)

// Making a key takes nothing from those who hold grants on others.
func TestMakingAKeyEndsNobodysSession(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	w.grantTo("carol", "other", "/", access.Admin)
	alice, carol := w.as("alice@docs"), w.as("carol@other")
	alice.json("POST", "/api/v1/kms/keys", map[string]string{"id": "hers"}).want(201)
	realm, err := w.node.Admins()
	must(t, err)
	before := realm.Generation()
	carol.json("POST", "/api/v1/kms/keys", map[string]string{"id": "carols"}).want(201)
	alice.do("GET", "/api/v1/kms/keys/hers", nil).want(200)
	if n := realm.Generation() - before; n != 1 {
		t.Errorf("%d records were written for one grant", n)
	}
}

// A key's administrator who has nothing to do with a file system is not told
// its name, also where it is in the way of deleting the key.
func TestTheNamesOfOthersBucketsAreNotToldWithTheirKey(t *testing.T) {
	w := newWorld(t)
	w.grantTo("alice", "docs", "/", access.Admin)
	alice := w.as("alice@docs")
	alice.json("POST", "/api/v1/kms/keys", map[string]string{"id": "shared"}).want(201)
	root := w.admin("root")
	for _, fs := range []string{"docs", "other"} {
		root.json("PUT", "/api/v1/buckets/"+fs+"/encryption", map[string]any{"enabled": true, "kms_key_id": "shared"}).want(200)
	}
	r := alice.json("POST", "/api/v1/kms/keys/shared/schedule-deletion", map[string]any{}).wantProblem(keyInUse)
	if body := string(r.body); strings.Contains(body, "docs, other") || !strings.Contains(body, "docs and 1 more") {
		t.Errorf("%s", body)
	}
	r = root.json("POST", "/api/v1/kms/keys/shared/schedule-deletion", map[string]any{}).wantProblem(keyInUse)
	if body := string(r.body); !strings.Contains(body, "docs, other") {
		t.Errorf("%s", body)
	}
}

// Whoever makes a key anew under an id that was used before, in whatever way,
// does not hand it to those who had grants on the earlier one.
func TestGrantsOnAnEarlierKeyOfTheSameIDAreGone(t *testing.T) {
	w := newWorld(t)
	p := access.Principal{User: "alice", Realm: "docs"}
	on := access.Resource{Provider: node.LocalProvider, Key: "again"}
	realm, err := w.node.Admins()
	must(t, err)
	f, err := w.node.FS("docs")
	must(t, err)
	created, _ := f.Users.Created("alice")
	must(t, realm.Grant(t.Context(), access.Holder{User: "alice", Realm: "docs", RealmID: f.ID(), Created: created}, on, access.KMSAdmin)) // of before
	if w.node.KeyRights(p).OnKey(on.Provider, on.Key) == 0 {
		t.Fatal("there is no grant to lose")
	}
	_, err = w.node.CreateKey(t.Context(), on.Provider, on.Key, efs.KeyOptions{})
	must(t, err)
	if have := w.node.KeyRights(p).OnKey(on.Provider, on.Key); have != 0 {
		t.Errorf("alice has %s on a key that somebody else made", have)
	}
}

// far is a KMS that counts what it is asked about keys.
type far struct {
	efs.KMS
	asked atomic.Int64
}

func (f *far) Name() string { return "far" }

func (f *far) DescribeKey(ctx context.Context, id string) (efs.KeyInfo, error) {
	f.asked.Add(1)
	return f.KMS.DescribeKey(ctx, id)
}

func (f *far) ListKeys(context.Context) ([]efs.KeyInfo, error) {
	f.asked.Add(1)
	return nil, fmt.Errorf("%w: secret-address:8200 said: no", efs.ErrRefused)
}

// Nobody has a KMS asked, or learns of its being there, about keys on which
// nothing was granted.
func TestNoKMSIsAskedAboutKeysOutOfReach(t *testing.T) {
	_, key, err := starter.Generate()
	must(t, err)
	box, err := starter.CreateBox(filepath.Join(t.TempDir(), "far"), key, nil)
	must(t, err)
	t.Cleanup(box.Close)
	kms, err := local.Open(box)
	must(t, err)
	remote := &far{KMS: kms}
	w := newWorld(t, func(c *node.Config, _ *Config, _ *Listener) { c.Providers = map[string]efs.KMS{"far": remote} })
	_, err = w.node.CreateKey(t.Context(), "far", "theirs", efs.KeyOptions{})
	must(t, err)
	w.grantTo("alice", "docs", "/", access.Admin)
	alice, bob := w.as("alice@docs"), w.as("bob@docs")
	remote.asked.Store(0)
	const keys = "/api/v1/kms/keys"
	told := map[string]bool{}
	for _, a := range []*actor{alice, bob} {
		for _, query := range []string{"", "?provider=far", "?provider=none"} {
			told[string(a.do("GET", keys+query, nil).want(200).body)] = true
		}
		a.do("GET", keys+"/theirs", nil).wantProblem(notFound)
		a.do("GET", keys+"/theirs?provider=far", nil).wantProblem(notFound)
	}
	for _, id := range []string{"theirs", "none"} {
		r := alice.json("PUT", "/api/v1/buckets/docs/encryption", map[string]any{"enabled": true, "kms_key_id": id}).wantProblem(badJSON)
		told[strings.ReplaceAll(string(r.body), r.header.Get("X-Request-Id"), "")] = true
	}
	if len(told) != 2 || remote.asked.Load() != 0 {
		t.Errorf("asked %d times; told %v", remote.asked.Load(), told)
	}
	must(t, w.node.Grant(t.Context(), access.Principal{User: "alice", Realm: "docs"}, access.Resource{Provider: "far", Key: "theirs"}, access.KMSUse))
	var list struct{ Keys []keyView }
	alice.do("GET", keys, nil).want(200).into(&list)
	if len(list.Keys) != 1 || list.Keys[0].ID != "theirs" || list.Keys[0].Provider != "far" {
		t.Errorf("%+v", list.Keys)
	}
	alice.json("PUT", "/api/v1/buckets/docs/encryption", map[string]any{"enabled": true, "kms_key_id": "theirs"}).want(200)
}
