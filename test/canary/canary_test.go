// Package canary stores files whose names, directories, contents, types and
// metadata are known and then searches everything that the server keeps for
// any trace of them.
package canary

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// The canaries: long enough that chance does not make them.
const (
	dirName  = "canary-ward-Kanarienvogel"
	fileName = "canary-prescription-Distelfink"
	content  = "CANARY: the patient takes 20 mg of Girlitzol twice a day."
	mimeType = "application/x-canary-zeisig"
	metaKey  = "canary-doctor"
	metaVal  = "canary-Dr-Stieglitz"
)

// TestNothingReadable stores by the inline and the blob path, replaces,
// moves, copies and deletes, and searches every file below the root while the
// server runs and after it has stopped.
func TestNothingReadable(t *testing.T) {
	s := kit.New(t)
	c := s.Client()
	ctx := t.Context()
	large := bytes.Repeat([]byte(content+"\n"), 40_000)
	opts := client.PutOptions{Type: mimeType, Meta: map[string]string{metaKey: metaVal}}
	for i := range 20 {
		small := fmt.Appendf(nil, "%s %d", content, i)
		for suffix, body := range map[string][]byte{"small": small, "large": large} {
			path := fmt.Sprintf("/%s/%d/%s-%s-%d", dirName, i%3, fileName, suffix, i)
			for range 2 { // the second replaces the first, whose pages are freed
				if _, err := c.Put(ctx, path, bytes.NewReader(body), opts); err != nil {
					t.Fatal(err)
				}
			}
			switch i % 4 {
			case 1:
				if err := c.Move(ctx, path, path+"-moved", client.MoveOptions{}); err != nil {
					t.Fatal(err)
				}
			case 2:
				if err := c.Copy(ctx, path, path+"-copied", client.MoveOptions{}); err != nil {
					t.Fatal(err)
				}
			case 3:
				if err := c.Remove(ctx, path, client.RemoveOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// Requests that fail leave traces in logs, if anything does.
	if _, err := c.Get(ctx, "/"+dirName+"/"+fileName+"-absent"); err == nil {
		t.Fatal("read what is not there")
	}
	if _, err := c.Put(ctx, "/"+dirName+"/../"+fileName, strings.NewReader(content), opts); err == nil {
		t.Fatal("stored under a path with ..")
	}
	aborted(t, s)

	search(t, s, "while the server runs")
	s.Ctl("fsck", kit.FS, "--deep")
	s.Stop()
	search(t, s, "after it stopped")
}

// aborted begins an upload that is cut off in the middle.
func aborted(t *testing.T, s *kit.Server) {
	t.Helper()
	c := s.Client()
	body := &failing{strings.NewReader(strings.Repeat(content, 100_000))}
	if _, err := c.Put(t.Context(), "/"+dirName+"/"+fileName+"-aborted", body, client.PutOptions{}); err == nil {
		t.Fatal("an upload that broke off was confirmed")
	}
}

// failing ends with an error in the middle.
type failing struct{ r *strings.Reader }

func (f *failing) Read(p []byte) (int, error) {
	if f.r.Len() < 2_000_000 {
		return 0, http.ErrBodyReadAfterClose
	}
	return f.r.Read(p)
}

// search looks at every file below the root and at the log.
func search(t *testing.T, s *kit.Server, when string) {
	t.Helper()
	files := map[string][]byte{"the server's log": []byte(s.Log())}
	err := filepath.WalkDir(s.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(s.Root, path)
		if err != nil {
			return err
		}
		for _, found := range findings([]byte(rel)) {
			t.Errorf("%s: the name of %s shows %s", when, rel, found)
		}
		files[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 40 {
		t.Fatalf("only %d files below the root: the search looked in the wrong place", len(files))
	}
	for name, b := range files {
		for _, found := range findings(b) {
			t.Errorf("%s: %s holds %s", when, name, found)
		}
	}
}

// findings lists the canaries that b holds.
func findings(b []byte) []string {
	var all []string
	lower := bytes.ToLower(b)
	for _, n := range needles() {
		hay := b
		if n.anyCase {
			hay = lower
		}
		if i := bytes.Index(hay, n.bytes); i >= 0 {
			all = append(all, fmt.Sprintf("%s at %d", n.what, i))
		}
	}
	return all
}

type needle struct {
	what    string
	bytes   []byte
	anyCase bool // bytes is lower case, and so is what it is looked for in
}

// needles are the canaries in the forms in which they might lie about.
var needles = sync.OnceValue(func() []needle {
	var all []needle
	for what, s := range map[string]string{
		"a directory's name": dirName, "a file's name": fileName, "contents": content,
		"a content type": mimeType, "a metadata key": metaKey, "a metadata value": metaVal,
	} {
		raw := []byte(s)
		all = append(all, needle{what, bytes.ToLower(raw), true})
		all = append(all, needle{what + " in hex", []byte(hex.EncodeToString(raw)), true})
		all = append(all, needle{what + " in UTF-16LE", utf16Bytes(s, 0), false}, needle{what + " in UTF-16BE", utf16Bytes(s, 1), false})
		for shift := range 3 { // base64 has three alignments; the edges depend on what is around
			enc := base64.StdEncoding.EncodeToString(append(make([]byte, shift), raw...))
			all = append(all, needle{what + " in base64", []byte(enc[4 : len(enc)-4]), false})
		}
		all = append(all, needle{what + " in gzip", gzipped(raw), false}, needle{what + " in zstd", zstded(raw), false})
	}
	return all
})

func utf16Bytes(s string, odd int) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if odd == 0 {
			b = append(b, byte(u), byte(u>>8))
		} else {
			b = append(b, byte(u>>8), byte(u))
		}
	}
	return b
}

// gzipped and zstded return the compressed form without header and checksum,
// as it would lie in the middle of something.
func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()[10 : out.Len()-8]
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)[6:]
}

// TestSearchFinds is the positive control: each canary is found in each form,
// in the middle of something else, and nothing is found where there is none.
func TestSearchFinds(t *testing.T) {
	around := kit.Pattern(1, 1001)
	if f := findings(around); len(f) != 0 {
		t.Errorf("found in noise: %v", f)
	}
	for _, s := range []string{dirName, fileName, content, mimeType, metaKey, metaVal} {
		for what, planted := range map[string][]byte{
			"as it is":       []byte(s),
			"in upper case":  []byte(strings.ToUpper(s)),
			"in a JSON line": fmt.Appendf(nil, "{%q:%q}", "path", "/"+s+"/x"),
			"in hex":         []byte(strings.ToUpper(hex.EncodeToString([]byte(s)))),
			"in UTF-16":      utf16Bytes(s, 0),
			"in base64":      []byte(base64.StdEncoding.EncodeToString([]byte("some text before it: " + s + ", and after"))),
		} {
			hay := append(append(bytes.Clone(around), planted...), around...)
			if len(findings(hay)) == 0 {
				t.Errorf("%q %s is not found", s, what)
			}
		}
	}
}
