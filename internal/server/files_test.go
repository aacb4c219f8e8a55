package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/efs-project/efs/internal/fsys"
)

var listAll = fsys.ListOptions{Limit: fsys.MaxListLimit, Recursive: true}

type stored struct {
	Path    string
	Size    int64
	SHA256  string
	ETag    string
	Version uint64
}

func TestStoreAndReadBack(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for _, size := range []int{0, 1, 4096, 16 << 10, 16<<10 + 1, 200_000, 3 << 20} {
		content := bytes.Repeat([]byte{byte(size), 7, 8, 9, 10}, size/5+1)[:size]
		sum := sha256.Sum256(content)
		for version, status := range []int{201, 200} {
			r := a.do("PUT", "/data/patients/173/prescription.pdf", content, "Content-Type: application/pdf", "EFS-Meta-Ward: B 2", "Repr-Digest: "+formatDigest(sum[:]))
			r.want(status)
			var s stored
			r.into(&s)
			if s.Path != "/patients/173/prescription.pdf" || s.Size != int64(size) || s.SHA256 != hex.EncodeToString(sum[:]) || s.Version != uint64(version+1) || r.header.Get("ETag") != `"`+s.ETag+`"` {
				t.Fatalf("stored %+v, ETag %s", s, r.header.Get("ETag"))
			}
			for _, path := range []string{"/data/patients/173/prescription.pdf", "/patients/173/prescription.pdf", "/api/v1/buckets/docs/objects/patients/173/prescription.pdf"} {
				g := a.do("GET", path, nil).want(200)
				if g.err != nil || !bytes.Equal(g.body, content) {
					t.Fatalf("%d bytes: read %d bytes back (%v)", size, len(g.body), g.err)
				}
				for name, want := range map[string]string{"ETag": r.header.Get("ETag"), "Content-Type": "application/pdf",
					"EFS-Meta-Ward": "B 2", "Repr-Digest": formatDigest(sum[:]), "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"} {
					if got := g.header.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				h := a.do("HEAD", path, nil).want(200)
				if len(h.body) != 0 || h.header.Get("Content-Length") == "" || h.header.Get("ETag") != g.header.Get("ETag") {
					t.Errorf("HEAD: %v", h.header)
				}
			}
		}
		a.do("DELETE", "/patients/173/prescription.pdf", nil).want(204)
		a.do("GET", "/patients/173/prescription.pdf", nil).wantProblem(notFound)
	}
}
