package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// A file system under two KMSs, made so or put so live, gives nothing out, not
// even names, when either of them refuses or is not there.
func TestTwoStagesNeedBothKMSs(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	other := newKMS(t)
	if _, err := other.CreateKey(ctx, "k", efs.KeyOptions{}); err != nil {
		t.Fatal(err)
	}
	open := func(kms map[string]efs.KMS) *Node {
		cfg := r.config()
		cfg.Key, cfg.Providers = r.found(), kms
		return r.openWith(cfg)
	}
	both := map[string]efs.KMS{"other": other}
	n := open(both)
	policy := efs.DefaultPolicy()
	policy.Stages = append(policy.Stages, efs.StagePolicy{Algorithm: efs.ChaCha20Poly1305, Provider: "other", KeyID: "k"})
	if err := n.CreateFSWith(ctx, "made", policy, nil); err != nil {
		t.Fatal(err)
	}
	f := mustCreate(t, n, "put")
	if err := put(f, "before", "hello"); err != nil {
		t.Fatal(err)
	}
	p := f.Policy()
	p.Stages = policy.Stages
	if _, err := f.SetPolicy(ctx, fsys.Who{}, p); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"fs.toml": "version = 2", "aes.key": `"provider": "other"`, "filename-salt": `"provider": "other"`} {
		if b, err := os.ReadFile(filepath.Join(f.SystemDir(), file)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s does not say %s: %v", file, want, err)
		}
	}
	wantAll := func(n *Node, what string, refused error) {
		t.Helper()
		for _, name := range []string{"made", "put"} {
			f, err := n.FS(name)
			if err == nil {
				_, err = f.Stat(ctx, "before")
				if listErr := list(f); !errors.Is(listErr, refused) {
					t.Errorf("%s: listing %s: %v, want %v", what, name, listErr, refused)
				}
				if _, readErr := read(f, "before"); !errors.Is(readErr, refused) {
					t.Errorf("%s: reading %s: %v, want %v", what, name, readErr, refused)
				}
			}
			if !errors.Is(err, refused) {
				t.Errorf("%s: %s: %v, want %v", what, name, err, refused)
			}
		}
	}
	if err := put(must(n.FS("made")), "before", "hello"); err != nil {
		t.Fatal(err)
	}
	for _, key := range [][2]string{{"local", "default"}, {"other", "k"}} {
		if _, err := n.DisableKey(ctx, key[0], key[1]); err != nil {
			t.Fatal(err)
		}
		wantAll(n, "with "+key[0]+" disabled", efs.ErrRefused)
		if _, err := n.EnableKey(ctx, key[0], key[1]); err != nil {
			t.Fatal(err)
		}
		wantAll(n, "with both", nil)
	}
	closeNode(t, n)
	r.log.Reset()
	n = open(nil)
	for _, name := range []string{"made", "put"} {
		if _, err := n.FS(name); err == nil {
			t.Errorf("%s opens without the other KMS", name)
		}
	}
	closeNode(t, n)
	r.log.Reset()
	n = open(both)
	wantAll(n, "after the restart", nil)
	if strings.Contains(r.log.String(), "found at start") {
		t.Errorf("copies did not fit at start: %s", r.log)
	}
}

func list(f *FileSystem) error {
	_, _, err := f.List(context.Background(), "", fsys.ListOptions{})
	return err
}

// A policy that cannot be makes no file system.
func TestBadPoliciesMakeNoFileSystem(t *testing.T) {
	ctx := context.Background()
	n := newRig(t).open()
	for what, c := range map[string]struct {
		change func(p *efs.Policy)
		want   error
	}{
		"compression": {func(p *efs.Policy) { p.Compression = "rar" }, efs.ErrBadInput},
		"fan-out":     {func(p *efs.Policy) { p.FanOut = 9 }, efs.ErrBadInput},
		"key":         {func(p *efs.Policy) { p.Stages[0].KeyID = "nowhere" }, efs.ErrNotFound},
	} {
		p := efs.DefaultPolicy()
		c.change(&p)
		wantError(t, what, n.CreateFSWith(ctx, "user-data", p, nil), c.want)
	}
	if all := n.ListFS(ctx); len(all) != 0 {
		t.Errorf("there is %+v", all)
	}
	mustCreate(t, n, "user-data")
}
