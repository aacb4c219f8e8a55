package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

func TestMembersComeBackAsTheyWere(t *testing.T) {
	want := tree()
	b := sealed(t, testInfo(), nil, want)
	stream, err := OpenStream(bytes.NewReader(b), passIDs)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Reader{"file": open(t, b, Options{}), "kept going": open(t, b, Options{KeepGoing: true}), "stream": stream} {
		info := r.Info()
		info.mark = ""
		if info != testInfo() {
			t.Fatalf("%s: head %+v", name, info)
		}
		got, removed, err := readAll(r)
		if err != nil || removed != nil {
			t.Fatal(name, err, removed)
		}
		if !reflect.DeepEqual(got, want) {
			for i := range want {
				if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
					t.Fatalf("%s: member %d:\n got %+v\nwant %+v", name, i, got[i], want[i])
				}
			}
			t.Fatal(name)
		}
		if r.Damaged() || len(r.Losses()) != 0 {
			t.Fatal(name, r.Losses())
		}
	}
}

func TestSkippedContentsAreNotNeeded(t *testing.T) {
	want := many(120)
	r := open(t, sealed(t, testInfo(), nil, want), Options{})
	for i := range want {
		m, err := r.Next()
		if err != nil || m.Name != want[i].Name {
			t.Fatal(m, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

func TestRemovedPathsComeFirst(t *testing.T) {
	info := testInfo()
	info.Since = 4000
	paths := []string{"a", "b/c", "Größe\nx"}
	files, removed, err := readAll(open(t, sealed(t, info, paths, tree()), Options{}))
	if err != nil || !reflect.DeepEqual(removed, paths) || len(files) != len(tree()) {
		t.Fatal(removed, len(files), err)
	}
	a, err := NewWriter(io.Discard, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Member(&Member{Name: "x", Kind: efs.KindDir}); err != nil {
		t.Fatal(err)
	}
	if a.Removed(paths) == nil {
		t.Fatal("the list may come anywhere")
	}
}

func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	for _, name := range []string{"", "/etc/passwd", "a//b", "../x", "a/../b", "a/./b", ".", "..", "a/", "a\x00b", "\xff", strings.Repeat("a/", maxName/2) + "a"} {
		if ValidName(name) {
			t.Errorf("%.40q is valid", name)
		}
		a, err := NewWriter(io.Discard, testInfo())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Member(&Member{Name: name, Kind: efs.KindFile}); !errors.Is(err, ErrFormat) {
			t.Errorf("%.40q was written: %v", name, err)
		}
	}
	for _, h := range []tar.Header{
		{Name: "../x", Typeflag: tar.TypeReg}, {Name: "/x", Typeflag: tar.TypeReg}, {Name: "x", Typeflag: tar.TypeFifo}, {Name: "x", Typeflag: tar.TypeLink, Linkname: "y"},
		{Name: "x", Typeflag: tar.TypeReg, Size: 1<<63 - 1}, {Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"GNU.sparse.major": "1"}},
	} {
		if m, err := memberOf(&h); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v was read: %+v", h, m)
		}
	}
}

func TestWhatIsNoArchiveIsRefused(t *testing.T) {
	pass, err := seal.PassphraseRecipient(pass, cheap)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		fs    [16]byte
		plain string
		want  error
	}{
		"another sealed file": {[16]byte{1}, "x", ErrFormat},
		"no tar":              {realm, strings.Repeat("no tar", 1000), ErrFormat},
		"nothing":             {realm, "", ErrFormat},
		"another tar":         {realm, otherTar(t, "comment", "hello"), ErrFormat},
		"a later version":     {realm, otherTar(t, "comment", `{"efs_archive":2}`), ErrUnsupported},
	} {
		var out bytes.Buffer
		w, err := seal.NewWriter(&out, &seal.Params{FS: c.fs, Stages: []seal.Stage{{Suite: seal.AES256GCM, Recipients: []seal.Recipient{pass}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, c.plain); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(seal.Recovery{}); err != nil {
			t.Fatal(err)
		}
		for _, keep := range []bool{false, true} {
			_, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()), passIDs, Options{KeepGoing: keep})
			if !errors.Is(err, c.want) && !(keep && what == "nothing") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := OpenStream(&out, passIDs); !errors.Is(err, c.want) {
			t.Errorf("%s, as a stream: %v", what, err)
		}
	}
}

func otherTar(t *testing.T, key, value string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{key: value}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAWrongKeyOpensNothing(t *testing.T) {
	b := sealed(t, testInfo(), nil, tree())
	wrong := []seal.Identity{seal.PassphraseIdentity([]byte("wrong"), seal.Argon2Limits{})}
	for _, keep := range []bool{false, true} {
		if _, err := Open(bytes.NewReader(b), int64(len(b)), wrong, Options{KeepGoing: keep}); !errors.Is(err, seal.ErrNoKey) {
			t.Fatal(err)
		}
	}
	k, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.GenerateKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	b = sealedFor(t, testInfo(), nil, tree(), k.Public(), other.Public())
	for _, id := range []seal.Identity{k, other} {
		r, err := Open(bytes.NewReader(b), int64(len(b)), []seal.Identity{id}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if _, err := Open(bytes.NewReader(b), int64(len(b)), passIDs, Options{}); !errors.Is(err, seal.ErrNoKey) {
		t.Fatal(err)
	}
}

// TestOtherProgramsReadTheTar gives the tar to GNU tar, bsdtar and Python.
func TestOtherProgramsReadTheTar(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	writeTar(t, f, testInfo(), []string{"gone"}, tree())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	programs := [][]string{
		{"tar", "tf", name, "--quoting-style=literal"},
		{"bsdtar", "tf", name},
		{"python3", "-c", "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name + '/' * m.isdir())", name},
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p[0]); err != nil {
			t.Logf("%s is not here", p[0])
			continue
		}
		cmd := exec.Command(p[0], p[1:]...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || stderr.Len() > 0 {
			t.Fatalf("%s: %v, it says %q", p[0], err, stderr.String())
		}
		for _, f := range tree() {
			want := f.Name
			if f.Kind == efs.KindDir {
				want += "/"
			}
			if !strings.Contains(string(out), want+"\n") {
				t.Errorf("%s does not list %q:\n%s", p[0], want, out)
			}
		}
	}
}
