package access

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive decides by walking: a grant covers a path if its segments are the
// first of the path's.
type naive []Grant

func segments(path string) []string {
	if path = strings.Trim(path, "/"); path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func begins(path, with []string) bool {
	return len(path) >= len(with) && slices.Equal(path[:len(with)], with)
}

func (n naive) may(p Permissions, path string) bool {
	var have Permissions
	for _, g := range n {
		if begins(segments(path), segments(g.On)) {
			have |= g.Permissions
		}
	}
	return have&p == p
}

func (n naive) visible(path string, dir bool) bool {
	if n.may(List, path) {
		return true
	}
	for _, g := range n {
		if g.Permissions&Writer == 0 {
			continue
		}
		at, on := segments(path), segments(g.On)
		if slices.Equal(at, on) || dir && begins(on, at) {
			return true
		}
	}
	return false
}

func drawPath(t *rapid.T, label string) string {
	// Names of which some begin others, with bytes on both sides of the slash.
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a2", "a-", "a.b", "b", "é"}), 0, 4).Draw(t, label)
	return strings.Join(names, "/")
}

func drawGrants(t *rapid.T) (grants []Grant) {
	for range rapid.IntRange(0, 6).Draw(t, "grants") {
		on := "/" + drawPath(t, "on")
		if on != "/" && rapid.Bool().Draw(t, "slash") {
			on += "/"
		}
		grants = append(grants, Grant{On: on, Permissions: rapid.SampledFrom([]Permissions{
			Read, Write, List, Delete, Reader, Writer, Read | Delete,
		}).Draw(t, "permissions")})
	}
	return grants
}

func TestRightsAreWhatTheGrantsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		grants := drawGrants(t)
		r, n := newRights(grants), naive(grants)
		for range 20 {
			path := drawPath(t, "path")
			p := rapid.SampledFrom([]Permissions{Read, Write, List, Delete, Reader, Writer}).Draw(t, "permission")
			dir := rapid.Bool().Draw(t, "dir")
			if got, want := r.May(p, path), n.may(p, path); got != want {
				t.Fatalf("May(%s, %q) is %v with %v", p, path, got, grants)
			}
			if got, want := r.Visible(path, dir), n.visible(path, dir); got != want {
				t.Fatalf("Visible(%q, %v) is %v with %v", path, dir, got, grants)
			}
			below := path + "/" + rapid.SampledFrom([]string{"a", "x"}).Draw(t, "below")
			if r.May(p, path) && !r.May(p, strings.Trim(below, "/")) {
				t.Fatalf("May(%s, %q), but not below it, with %v", p, path, grants)
			}
			if r.Visible(path, dir) && !r.Reaches(path) {
				t.Fatalf("%q is visible and out of reach, with %v", path, grants)
			}
		}
	})
}

// Names and Visible together show exactly what is visible, in every directory
// that can be listed.
func TestNamesAreThoseThatAreVisible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		grants := drawGrants(t)
		r := newRights(grants)
		dir := drawPath(t, "dir")
		if !r.May(List, dir) && !r.OnTheWay(dir) {
			t.Skip("cannot be listed")
		}
		names, all := r.Names(dir)
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Fatalf("names %q", names)
		}
		for _, name := range []string{"a", "a2", "a-", "a.b", "b", "é", "other"} {
			path := strings.Trim(dir+"/"+name, "/")
			for _, isDir := range []bool{false, true} {
				listed := (all || slices.Contains(names, name)) && r.Visible(path, isDir)
				if listed != naive(grants).visible(path, isDir) {
					t.Fatalf("%q (directory: %v) listed: %v, with %v", path, isDir, listed, grants)
				}
			}
		}
	})
}

func TestNobodyHasRights(t *testing.T) {
	for _, r := range []*Rights{nil, nothing, newRights(nil)} {
		if !r.None() || r.All() || r.May(Read, "") || r.Reaches("") || r.Visible("a", true) || r.OnTheWay("") || r.MayKey(KMSUse, "local", "k") {
			t.Errorf("%+v permits something", r)
		}
		if names, all := r.Names(""); all || len(names) > 0 {
			t.Errorf("%+v shows %q", r, names)
		}
	}
	if r := newRights([]Grant{{On: "/", Permissions: Manage}}); r.May(Read, "") || r.Reaches("") || r.None() || !r.May(Manage, "") {
		t.Error("who manages a file system gets at its files")
	}
}

func TestRightsOnKeys(t *testing.T) {
	r := newRights([]Grant{{On: "kms:local/a", Permissions: KMSUse}, {On: "kms:vault/a", Permissions: KMSAdmin}})
	for _, c := range []struct {
		p        Permissions
		provider string
		key      string
		want     bool
	}{
		{KMSUse, "local", "a", true}, {KMSRotate, "local", "a", false}, {KMSAdmin, "local", "a", false},
		{KMSUse, "vault", "a", true}, {KMSRotate, "vault", "a", true}, {KMSAdmin, "vault", "a", true},
		{KMSUse, "local", "b", false}, {KMSUse, "other", "a", false}, {Read, "vault", "a", false},
	} {
		if r.MayKey(c.p, c.provider, c.key) != c.want {
			t.Errorf("%s on %s/%s: not %v", c.p, c.provider, c.key, c.want)
		}
	}
}

func TestParseResource(t *testing.T) {
	for text, want := range map[string]string{
		"user-data": "user-data:/", "user-data:": "user-data:/", "user-data:/": "user-data:/", "user-data:/a/": "user-data:/a/",
		"user-data:/a/b:c": "user-data:/a/b:c", "kms:my-key": "kms:local/my-key", "kms:vault/k/1": "kms:vault/k/1",
	} {
		r, err := ParseResource(text)
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v", text, r, err)
		}
	}
	for _, text := range []string{
		"", ":", "/a", "A:/", "@server:/", "user-data:a", "user-data://", "user-data:/a//b", "user-data:/../b", "user-data:/a/.",
		"user-data:/\xff", "user-data:/a\x00", "kms:", "kms:vault/", "kms:a\nb",
		"user-data:/" + strings.Repeat("a/", 3000), "user-data:/" + strings.Repeat("x", 256),
	} {
		if r, err := ParseResource(text); err == nil {
			t.Errorf("%q was taken for %v", text, r)
		}
	}
}

func BenchmarkMayEverything(b *testing.B) {
	for b.Loop() {
		if !everything.May(Read, "patients/173/scan.pdf") {
			b.Fatal("not permitted")
		}
	}
}

func BenchmarkMayAmongThousand(b *testing.B) {
	var grants []Grant
	for i := range 1000 {
		grants = append(grants, Grant{On: "/patients/" + time.Duration(i).String(), Permissions: Reader})
	}
	r := newRights(grants)
	for b.Loop() {
		if !r.May(Read, "patients/173ns/2026/scan.pdf") {
			b.Fatal("not permitted")
		}
	}
}
