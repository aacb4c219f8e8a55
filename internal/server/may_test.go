package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

// addUserWithout adds a user without any grants.
func (w *world) addUserWithout(fs, name string, grants ...string) *person {
	w.t.Helper()
	p := w.addUser(fs, name)
	w.revoke(p, "writer", fs+":/")
	for _, g := range grants {
		what, on, _ := strings.Cut(g, " ")
		w.grant(p, what, on)
	}
	return p
}

func (w *world) grantArgs(p *person, what, on string) (access.Principal, access.Resource, access.Permissions) {
	w.t.Helper()
	set, err := access.ParsePermissions(what)
	must(w.t, err)
	res, err := access.ParseResource(on)
	must(w.t, err)
	return access.Principal{User: p.name, Realm: p.fs}, res, set
}

func (w *world) grant(p *person, what, on string) {
	w.t.Helper()
	who, res, set := w.grantArgs(p, what, on)
	must(w.t, w.node.Grant(context.Background(), who, res, set))
}

func (w *world) revoke(p *person, what, on string) {
	w.t.Helper()
	who, res, set := w.grantArgs(p, what, on)
	must(w.t, w.node.RevokeGrant(context.Background(), who, res, set))
}

// told is everything that an answer tells, but for what every answer has of
// its own.
func (r *reply) told() string {
	h := r.header.Clone()
	id := h.Get("X-Request-Id")
	h.Del("X-Request-Id")
	h.Del("Date")
	names := []string{}
	for k, v := range h {
		names = append(names, k+": "+strings.Join(v, ", "))
	}
	slices.Sort(names)
	body := strings.ReplaceAll(string(r.body), id, "ID")
	length := fmt.Sprint(len(r.body) - len(id))
	return strings.ReplaceAll(fmt.Sprint(r.status, names, body), fmt.Sprint("Content-Length: ", len(r.body)), "Content-Length: "+length)
}

// methods are all requests to a path: by what a grant permits them, and whether
// they make something.
var methods = []struct {
	method  string
	dir     bool // of a directory, with a slash
	body    string
	headers []string
	need    access.Permissions
	makes   bool
}{
	{method: "GET", need: access.Read},
	{method: "GET", headers: []string{"Range: bytes=0-0"}, need: access.Read},
	{method: "GET", headers: []string{"If-None-Match: *"}, need: access.Read},
	{method: "GET", headers: []string{"If-Match: \"x\""}, need: access.Read},
	{method: "GET", headers: []string{"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"}, need: access.Read},
	{method: "HEAD", need: access.Read},
	{method: "GET", dir: true, need: access.List},
	{method: "HEAD", dir: true, need: access.List},
	{method: "PUT", body: "new", need: access.Write, makes: true},
	{method: "PUT", body: "new", headers: []string{"If-Match: \"x\""}, need: access.Write, makes: true},
	{method: "PUT", body: "new", headers: []string{"If-None-Match: *"}, need: access.Write, makes: true},
	{method: "PUT", body: "new", headers: []string{"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"}, need: access.Write, makes: true},
	{method: "POST", body: "new", need: access.Write, makes: true},
	{method: "MKCOL", need: access.Write, makes: true},
	{method: "PATCH", body: `{"type":"text/x"}`, headers: []string{"Content-Type: application/merge-patch+json"}, need: access.Write},
	{method: "PATCH", body: `{"meta":{"a":"b"}}`, headers: []string{"Content-Type: application/merge-patch+json", "If-Match: *"}, need: access.Write},
	{method: "DELETE", need: access.Delete},
	{method: "DELETE", dir: true, need: access.Delete},
	{method: "DELETE", headers: []string{"If-Match: \"x\""}, need: access.Delete},
	{method: "MOVE", headers: []string{"Destination: /data/granted/moved"}, need: access.Read | access.Delete},
	{method: "MOVE", dir: true, headers: []string{"Destination: /data/granted/moved"}, need: access.Read | access.Delete},
	{method: "COPY", headers: []string{"Destination: /data/granted/copied"}, need: access.Read},
	{method: "COPY", headers: []string{"Destination: /data/granted/copied", "If-Match: \"x\""}, need: access.Read},
}

// Out of reach, every answer is the same to the byte whether there is a file, a
// directory or nothing, and the same as on a file system that does not exist.
func TestOutOfReachNothingIsToldApart(t *testing.T) {
	w := newWorld(t)
	alice := w.as("alice@docs")
	alice.do("PUT", "/data/hidden/file", "secret").want(201)
	alice.do("PUT", "/data/hidden/dir/file", "secret").want(201)
	alice.do("PUT", "/data/granted/file", "known").want(201)
	w.addUserWithout("docs", "dave", "writer docs:/granted/")
	dave := w.as("dave@docs")
	carol := w.as("carol@other")
	before := w.snapshot()
	for _, m := range methods {
		t.Run(m.method+fmt.Sprint(m.headers, m.dir), func(t *testing.T) {
			slash := ""
			if m.dir {
				slash = "/"
			}
			told := map[string][]string{}
			ask := func(a *actor, prefix, path string) {
				r := a.do(m.method, prefix+path+slash, m.body, m.headers...)
				if m.makes {
					r.want(403)
				} else {
					r.want(404)
				}
				told[r.told()] = append(told[r.told()], prefix+path)
			}
			for _, path := range []string{"hidden/file", "hidden/dir", "hidden", "hidden/none", "none", "none/none", "hidden/file/none", "granted2"} {
				ask(dave, "/data/", path)
				ask(dave, "/api/v1/buckets/docs/objects/", path)
				if m.headers == nil || !strings.HasPrefix(m.headers[0], "Destination") {
					for _, fs := range []string{"docs", "never-made"} {
						ask(carol, "/api/v1/buckets/"+fs+"/objects/", path)
					}
				}
			}
			if len(told) != 1 {
				t.Errorf("told apart: %q", told)
			}
		})
	}
	if after := w.snapshot(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

// What is granted is permitted, and nothing else, for every permission alone
// and every method; where something is granted, what is not is forbidden,
// whether it exists or not.
func TestEveryMethodTakesItsPermission(t *testing.T) {
	w := newWorld(t)
	alice := w.as("alice@docs")
	alice.do("PUT", "/data/granted/keep", "x").want(201)
	for _, have := range []access.Permissions{
		access.Read, access.Write, access.List, access.Delete, access.Reader, access.Read | access.Delete, access.Writer,
	} {
		name := "user" + fmt.Sprint(uint(have))
		area := fmt.Sprintf("area%d", have)
		w.addUserWithout("docs", name, have.String()+" docs:/"+area, "write docs:/granted/")
		a := w.as(name + "@docs")
		for i, m := range methods {
			for _, existing := range []bool{true, false} {
				path, slash := fmt.Sprintf("/data/%s/%d-%v", area, i, existing), ""
				if m.dir {
					slash = "/"
				}
				if existing && m.dir {
					alice.do("MKCOL", path, nil).want(201)
				} else if existing {
					alice.do("PUT", path, "old").want(201)
				}
				need := m.need
				if m.method == "MOVE" && m.dir && existing {
					need |= access.List
				}
				headers := m.headers
				if len(headers) > 0 && strings.HasPrefix(headers[0], "Destination") {
					headers = append([]string{fmt.Sprintf("Destination: /data/granted/%s-%d-%v", name, i, existing)}, headers[1:]...)
				}
				r := a.do(m.method, path+slash, m.body, headers...)
				permitted := have&need == need
				if need == access.Read && !m.makes && !existing && have&access.List != 0 && (m.method == "GET" || m.method == "HEAD") {
					permitted = true // to know that nothing is there
				}
				if permitted == (r.status == 403) {
					t.Errorf("%s %s %q existing=%v with %s: %d %s", m.method, path+slash, headers, existing, have, r.status, r.body)
				}
				if want := map[bool]int{true: 0, false: 404}[existing]; permitted && want != 0 && !m.makes && r.status != want {
					t.Errorf("%s of nothing with %s: %d", m.method, have, r.status)
				}
			}
		}
	}
}

// A directory on the way to what was granted shows the way and nothing else.
func TestOnTheWayOnlyTheWayIsShown(t *testing.T) {
	w := newWorld(t)
	alice := w.as("alice@docs")
	for _, f := range []string{"p/1/a", "p/1/b/c", "p/2/secret", "p/secret", "secret", "a/secret", "z/secret", "p2/secret", "inbox/x"} {
		alice.do("PUT", "/data/"+f, f).want(201)
	}
	w.addUserWithout("docs", "dave", "reader docs:/p/1/", "write docs:/inbox/", "reader docs:/not/yet/there")
	dave := w.as("dave@docs")
	for path, want := range map[string][]string{
		"/data/":                  {"inbox", "p"},
		"/data/?limit=1":          {"inbox"},
		"/data/?after=inbox/":     {"p"},
		"/data/p/":                {"1"},
		"/data/p/1/":              {"a", "b"},
		"/data/?recursive=true":   {"inbox", "p", "p/1", "p/1/a", "p/1/b", "p/1/b/c"},
		"/data/p/?recursive=true": {"1", "1/a", "1/b", "1/b/c"},
	} {
		if got := dave.names(path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		lines := dave.do("GET", strings.ReplaceAll(path, "limit=1", ""), nil, "Accept: application/x-ndjson").want(200)
		if strings.Contains(string(lines.body), "secret") {
			t.Errorf("%s as lines: %s", path, lines.body)
		}
		// Who takes what is not shown for deleted is told.
		want := "1"
		if path == "/data/p/1/" {
			want = ""
		}
		if got := lines.header.Get("EFS-Narrowed") + dave.do("GET", path, nil).want(200).header.Get("EFS-Narrowed"); got != want+want {
			t.Errorf("%s is narrowed: %q", path, got)
		}
	}
	for limit := 1; limit < 8; limit++ { // no page tells of what is between
		var got []string
		for after := ""; ; {
			var p page
			r := dave.do("GET", fmt.Sprintf("/data/?recursive=true&limit=%d&after=%s", limit, after), nil).want(200)
			r.into(&p)
			if strings.Contains(string(r.body), "secret") || len(p.Entries) == 0 {
				t.Fatalf("limit %d after %q: %s", limit, after, r.body)
			}
			for _, e := range p.Entries {
				got = append(got, e.Name)
			}
			if p.Next == nil {
				break
			}
			after = *p.Next
		}
		if len(got) != 6 {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	// By the name of a directory on the way one gets there; a file that stands
	// in the way is not told of.
	if r := dave.do("GET", "/data/p", nil).want(308); r.header.Get("Location") != "/data/p/" {
		t.Errorf("Location: %q", r.header.Get("Location"))
	}
	inTheWay := []string{"/data/not/yet", "/data/not", "/data/not/", "/data/not/yet/"}
	var nothing []string
	for _, path := range inTheWay {
		nothing = append(nothing, dave.do("GET", path, nil).want(404).told())
	}
	alice.do("PUT", "/data/not", "a file").want(201)
	for i, path := range inTheWay {
		if got := dave.do("GET", path, nil).told(); got != nothing[i] {
			t.Errorf("%s: %s, want %s", path, got, nothing[i])
		}
	}
	if got := dave.names("/data/"); !slices.Equal(got, []string{"inbox", "p"}) {
		t.Errorf("with a file in the way: %q", got)
	}
	// Where something is granted, what is not is forbidden.
	dave.do("GET", "/data/inbox/", nil).wantProblem(forbidden)
	dave.do("GET", "/data/inbox/x", nil).wantProblem(forbidden)
	dave.do("PUT", "/data/p/1/new", "x").wantProblem(forbidden)
	dave.do("DELETE", "/data/p/?recursive=true", nil).wantProblem(forbidden)
	dave.do("PUT", "/data/inbox/new", "x").want(201)
	dave.do("PUT", "/data/not-there/x", "x").wantProblem(forbidden)
	// Directories above are made for whoever may store below.
	w.grant(w.people["dave@docs"], "write", "docs:/new/deep/")
	dave.do("PUT", "/data/new/deep/file", "x").want(201)
	dave.do("MKCOL", "/data/new/other", nil).wantProblem(forbidden)
	// Contents that may not be read are not told of by their digest.
	r := dave.do("PATCH", "/data/inbox/x", `{"type":"text/plain"}`, "Content-Type: application/merge-patch+json").want(200)
	if r.header.Get("Repr-Digest") != "" || strings.Contains(string(r.body), "sha256") {
		t.Errorf("a digest: %v %s", r.header, r.body)
	}
}

// A directory is not carried out of reach of its names by who may only read.
func TestATreeIsCopiedByWhoMayListIt(t *testing.T) {
	w := newWorld(t)
	alice := w.as("alice@docs")
	alice.do("PUT", "/data/tree/secret-name", "x").want(201)
	w.addUserWithout("docs", "dave", "read,delete docs:/tree", "writer docs:/mine/")
	dave := w.as("dave@docs")
	for _, method := range []string{"COPY", "MOVE"} {
		dave.do(method, "/data/tree/", nil, "Destination: /data/mine/t").wantProblem(forbidden)
		dave.do(method, "/data/tree", nil, "Destination: /data/mine/t", "If-Match: *").wantProblem(forbidden)
	}
	dave.do("COPY", "/data/tree/secret-name", nil, "Destination: /data/mine/t").want(201)
	dave.do("COPY", "/data/mine/t", nil, "Destination: /data/tree/x").wantProblem(forbidden)
	dave.do("MOVE", "/data/tree/secret-name", nil, "Destination: /data/mine/u", "If-Match: \"x\"").wantProblem(preconditionFailed)
	dave.do("MOVE", "/data/tree/secret-name", nil, "Destination: /data/mine/u").want(201)
}

// Users of another file system come with their own certificate and session.
func TestUsersOfAnotherFileSystem(t *testing.T) {
	w := newWorld(t)
	w.as("alice@docs").do("PUT", "/data/shared/a", "x").want(201)
	w.as("alice@docs").do("PUT", "/data/hidden", "x").want(201)
	w.grant(w.people["carol@other"], "writer", "docs:/shared/")
	carol := w.as("carol@other")
	const shared = "/api/v1/buckets/docs/objects/shared/"
	if got := carol.do("GET", shared+"a", nil).want(200); string(got.body) != "x" {
		t.Errorf("%q", got.body)
	}
	carol.do("PUT", shared+"b", "of carol").want(201)
	carol.do("MOVE", shared+"b", nil, "Destination: "+shared+"c").want(201)
	carol.do("MOVE", shared+"c", nil, "Destination: /data/c").wantProblem(wrongFS)
	carol.do("MOVE", shared+"c", nil, "Destination: /api/v1/buckets/never-made/objects/c").wantProblem(wrongFS)
	if got := carol.names(shared); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("%q", got)
	}
	if got := carol.names("/api/v1/buckets/docs/objects/"); !slices.Equal(got, []string{"shared"}) {
		t.Errorf("%q", got)
	}
	if got := carol.names("/data/"); len(got) > 0 {
		t.Errorf("stored at home: %q", got)
	}
	f, err := w.node.FS("docs")
	must(t, err)
	e, err := f.Stat(context.Background(), "shared/c")
	must(t, err)
	if e.Owner != "carol@other" {
		t.Errorf("owner %q", e.Owner)
	}
	changes := string(w.as("alice@docs").do("GET", "/changes", nil).want(200).body)
	if !strings.Contains(changes, `"user":"carol@other"`) {
		t.Errorf("changes: %s", changes)
	}
	const feed = "/api/v1/buckets/docs/changes"
	if r := carol.do("GET", feed, nil).want(200); !strings.Contains(string(r.body), `"path":"/shared/c"`) || strings.Contains(string(r.body), "hidden") {
		t.Errorf("feed: %s", r.body)
	}
	if got := string(carol.do("GET", "/changes", nil).want(200).body); got != "" {
		t.Errorf("feed at home: %s", got)
	}
	if a, b := w.as("bob@docs").do("GET", "/api/v1/buckets/other/changes", nil).want(404), carol.do("GET", "/api/v1/buckets/never-made/changes", nil); a.told() != b.told() {
		t.Errorf("%s and %s", a.told(), b.told())
	}
	// Who comes after carol has nothing.
	must(t, w.node.DeleteUser(context.Background(), "other", "carol"))
	w.addUser("other", "carol")
	w.as("carol@other").do("GET", shared+"a", nil).wantProblem(notFound)
}

// The feed tells what is visible; moves in and out are creations and deletions.
func TestTheFeedTellsWhatIsVisible(t *testing.T) {
	w := newWorld(t)
	alice := w.as("alice@docs")
	w.addUserWithout("docs", "dave", "reader docs:/mine/", "write docs:/inbox/")
	dave := w.as("dave@docs")
	for _, f := range []string{"secret", "mine/a", "mine/b", "inbox/secret", "out/x/y"} {
		alice.do("PUT", "/data/"+f, f).want(201)
	}
	alice.do("MOVE", "/data/mine/a", nil, "Destination: /data/gone").want(201)
	alice.do("MOVE", "/data/gone", nil, "Destination: /data/mine/back").want(201)
	alice.do("MOVE", "/data/mine/b", nil, "Destination: /data/mine/c").want(201)
	alice.do("MOVE", "/data/out/x", nil, "Destination: /data/mine/x").want(201)
	alice.do("MOVE", "/data/mine", nil, "Destination: /data/secret-mine").want(201)
	r := dave.do("GET", "/changes", nil).want(200)
	var got []string
	for line := range strings.Lines(string(r.body)) {
		var c struct{ Op, Path, From, Kind string }
		must(t, json.Unmarshal([]byte(line), &c))
		got = append(got, strings.TrimSpace(fmt.Sprintln(c.Op, c.Path, c.From, c.Kind)))
	}
	want := []string{
		"create /mine  directory", "create /mine/a  file", "create /mine/b  file", "create /inbox  directory",
		"delete /mine/a  file", "create /mine/back  file", "move /mine/c /mine/b file", "create /mine/x  directory", "delete-tree /mine  directory",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || strings.Contains(string(r.body), "secret") || strings.Contains(string(r.body), "gone") {
		t.Errorf("%q\nwant %q\n%s", got, want, r.body)
	}
}

// A grant that is taken away ends what is running, and the sessions; what is
// left is there after the next handshake. One that is given is there at once.
func TestAGrantThatIsTakenAwayEndsWhatRuns(t *testing.T) {
	w := newWorld(t, quick)
	alice := w.as("alice@docs")
	alice.do("PUT", "/data/a/f", "x").want(201)
	p := w.addUserWithout("docs", "dave", "reader docs:/a/")
	dave := w.as("dave@docs")
	dave.do("GET", "/data/b/f", nil).wantProblem(notFound)
	w.grant(p, "reader", "docs:/b/")
	alice.do("PUT", "/data/b/f", "x").want(201)
	dave.do("GET", "/data/b/f", nil).want(200) // over the same connection
	feed, err := dave.http.Do(dave.request("GET", "/changes?follow=true", nil))
	must(t, err)
	defer feed.Body.Close()
	w.revoke(p, "reader", "docs:/a/")
	if _, err := io.ReadAll(feed.Body); err == nil {
		t.Log("the feed ended in good order")
	}
	dave.do("GET", "/data/b/f", nil).wantProblem(sessionExpired)
	dave = w.as("dave@docs")
	dave.do("GET", "/data/b/f", nil).want(200)
	dave.do("GET", "/data/a/f", nil).wantProblem(notFound)
}

// Administrators of the server log in like users, and get at no file.
func TestAdministratorsGetAtNoFile(t *testing.T) {
	w := newWorld(t)
	w.as("alice@docs").do("PUT", "/data/x", "x").want(201)
	realm, err := w.node.Admins()
	must(t, err)
	p := w.addTo(realm, efs.ServerRealm, "root1")
	a := w.dial(p.cert)
	_, message := a.hello("root1", efs.ServerRealm)
	if !strings.Contains(message, "\nfs: @server\n") {
		t.Errorf("message %q", message)
	}
	a.login(p)
	for _, path := range []string{"/data/", "/data/x", "/x", "/changes", "/api/v1/buckets/docs/changes", "/api/v1/buckets/docs/objects/", "/api/v1/buckets/docs/objects/x", "/api/v1/buckets/never-made/objects/x"} {
		a.do("GET", path, nil).wantProblem(notFound)
	}
	for _, path := range []string{"/data/y", "/api/v1/buckets/docs/objects/y", "/api/v1/buckets/never-made/objects/y"} {
		a.do("PUT", path, "x").wantProblem(forbidden)
		a.do("DELETE", path, nil).wantProblem(notFound)
	}
	if err := w.node.Grant(context.Background(), access.Principal{User: "root1", Realm: efs.ServerRealm},
		access.Resource{FS: "docs", Path: "/"}, access.Read); err == nil {
		t.Error("an administrator was granted files")
	}
	// A user of a file system called "server" is nobody there.
	must(t, w.node.CreateFS(context.Background(), "server", nil))
	w.addUser("server", "root1")
	w.as("root1@server").do("GET", "/api/v1/buckets/docs/objects/x", nil).wantProblem(notFound)
	must(t, realm.Revoke(context.Background(), "root1"))
	w.dial(p.cert).do("GET", "/data/", nil).wantProblem(certificateRevoked)
}

// What other parts of the interface ask.
func TestMayAdministrate(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	realm, err := w.node.Admins()
	must(t, err)
	w.addTo(realm, efs.ServerRealm, "root1")
	w.grant(w.people["bob@docs"], "manage", "docs:/")
	w.grant(w.people["carol@other"], "reader", "docs:/shared/")
	w.grant(w.people["alice@docs"], "kms:use", "kms:default")
	as := func(who string) *exchange {
		user, fs, _ := strings.Cut(who, "@")
		m, err := w.server.member(fs)
		must(t, err)
		m.user = user
		return &exchange{s: w.server, who: m}
	}
	kindOf := func(err error) string {
		if err == nil {
			return "may"
		}
		return err.(*problem).kind.name
	}
	for _, c := range []struct {
		who                                              string
		admin, docs, other, missing, use, rotate, create string
	}{
		{"root1@@server", "may", "may", "may", "may", "may", "may", "may"},
		{"bob@docs", "forbidden", "may", "not-found", "not-found", "not-found", "not-found", "may"},
		{"alice@docs", "forbidden", "forbidden", "not-found", "not-found", "may", "forbidden", "forbidden"},
		{"carol@other", "forbidden", "forbidden", "forbidden", "not-found", "not-found", "not-found", "forbidden"},
	} {
		x := as(c.who)
		got := []string{kindOf(x.mayAdmin()), kindOf(x.mayBucket("docs")), kindOf(x.mayBucket("other")), kindOf(x.mayBucket("never-made")),
			kindOf(x.mayKey(access.KMSUse, "local", "default")), kindOf(x.mayKey(access.KMSRotate, "local", "default")), kindOf(x.mayCreateKey())}
		want := []string{c.admin, c.docs, c.other, c.missing, c.use, c.rotate, c.create}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c.who, got, want)
		}
	}
	// A key belongs to its maker.
	bob := access.Principal{User: "bob", Realm: "docs"}
	must(t, w.node.OwnKey(ctx, bob, "local", "default"))
	if err := as("bob@docs").mayKey(access.KMSAdmin|access.KMSRotate, "local", "default"); err != nil {
		t.Error(err)
	}
}
