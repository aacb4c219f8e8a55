package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// file is a member with its contents.
type file struct {
	Member
	data string
}

func testInfo() Info {
	return Info{FS: "drive", FSID: "0198a1b2-0000-7000-8000-000000000001", Path: "/", Sequence: 4711, Created: time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC)}
}

func newFile(name, data string) file {
	sum := sha256.Sum256([]byte(data))
	return file{Member{
		Name: name, Kind: efs.KindFile, Size: int64(len(data)), Mode: 0o640, Type: "text/plain", SHA256: hex.EncodeToString(sum[:]), Version: 3,
		Modified: time.UnixMicro(1700000000123456).UTC(), Created: time.UnixMicro(1600000000654321).UTC(),
	}, data}
}

func newDir(name string) file {
	return file{Member: Member{Name: name, Kind: efs.KindDir, Modified: time.UnixMicro(1700000001000000).UTC()}}
}

// tree is a small tree with everything that a member can have.
func tree() []file {
	odd := newFile("letters/Größe – 尺寸.txt", "umlauts\n")
	odd.Meta = map[string]string{"ward": "7", "mime_type": "a trap", "efs.sha256": "another", "a=b c": "x\ny", "ünï": "ä"}
	odd.Owner = "alice"
	bare := file{Member: Member{Name: "letters/bare", Kind: efs.KindFile, Modified: time.Unix(0, 0).UTC()}}
	long := newFile("letters/"+string(bytes.Repeat([]byte("long-"), 40))+"/"+string(bytes.Repeat([]byte("name "), 50)), "x")
	link := file{Member: Member{Name: "link", Kind: efs.KindSymlink, Target: "letters/../../äway", Modified: time.UnixMicro(1700000000000001).UTC()}}
	twin := newFile(removedName, "no list\x00")
	past := newFile("old", "before 1970")
	past.Modified = time.UnixMicro(-1500000).UTC()
	return []file{newDir("empty"), newDir("letters"), bare, odd, long, link, twin, past}
}

// writeTar writes an archive's tar.
func writeTar(t testing.TB, w io.Writer, info Info, removed []string, files []file) {
	t.Helper()
	a, err := NewWriter(w, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Removed(removed); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := a.Member(&f.Member); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(a, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

var (
	cheap   = seal.Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1}
	pass    = []byte("correct horse")
	passIDs = []seal.Identity{seal.PassphraseIdentity(pass, seal.Argon2Limits{})}
)

// sealed makes an archive under pass.
func sealed(t testing.TB, info Info, removed []string, files []file) []byte {
	t.Helper()
	r, err := seal.PassphraseRecipient(pass, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return sealedFor(t, info, removed, files, r)
}

func sealedFor(t testing.TB, info Info, removed []string, files []file, to ...seal.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewSealer(&out, to...)
	if err != nil {
		t.Fatal(err)
	}
	writeTar(t, w, info, removed, files)
	if _, err := w.Close(seal.Recovery{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readAll reads every member with its contents, and the paths removed.
func readAll(r *Reader) (files []file, removed []string, err error) {
	for {
		m, err := r.Next()
		if err == io.EOF {
			return files, removed, nil
		}
		if err != nil {
			return files, removed, err
		}
		if m.Removed {
			if err := r.EachRemoved(func(p string) error { removed = append(removed, p); return nil }); err != nil {
				return files, removed, err
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return files, removed, err
		}
		files = append(files, file{*m, string(data)})
	}
}

func open(t testing.TB, b []byte, o Options) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), passIDs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// many is a tree large enough for many frames: files of all sizes whose
// contents do not compress.
func many(n int) []file {
	noise := rand.NewChaCha8([32]byte{7})
	rnd := rand.New(noise)
	var files []file
	for i := range n {
		if i%50 == 0 {
			files = append(files, newDir(fmt.Sprintf("dir-%03d", i/50)))
		}
		size := rnd.IntN(20000)
		if i%97 == 0 {
			size = 2500 << 10
		}
		data := make([]byte, size)
		noise.Read(data)
		f := newFile(fmt.Sprintf("dir-%03d/file-%04d", i/50, i), string(data))
		f.Type = "application/octet-stream"
		files = append(files, f)
	}
	return files
}
