package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

func (w *world) setPolicy(fsName string, change func(p *efs.Policy)) {
	w.t.Helper()
	f, err := w.node.FS(fsName)
	must(w.t, err)
	p := f.Policy()
	p.Stages = append([]efs.StagePolicy(nil), p.Stages...)
	change(&p)
	_, err = f.SetPolicy(context.Background(), fsys.Who{}, p)
	must(w.t, err)
}

// Whatever the policy, clients get what they stored: whole, in ranges, with
// its digest.
func TestPoliciesAreNothingThatClientsSee(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	for name, change := range map[string]func(p *efs.Policy){
		"compressed": func(p *efs.Policy) { p.Compression = "zstd" },
		"unpadded":   func(p *efs.Policy) { p.Padding, p.SegmentSize = "none", 4096 },
		"two ciphers": func(p *efs.Policy) {
			p.Stages = append(p.Stages, p.Stages[0])
			p.Stages[1].Algorithm = efs.ChaCha20Poly1305
		},
		"no inline": func(p *efs.Policy) { p.InlineLimit = 0 },
	} {
		w.setPolicy("docs", change)
		for _, size := range []int{0, 1, 9000, 300_001} {
			content := randomBytes(size)
			for i := range content[:size/2] { // half of it shrinks
				content[i] = byte(i / 1000)
			}
			sum := sha256.Sum256(content)
			digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
			a.do("PUT", "/data/f", bytes.Repeat([]byte("x"), size+1), "Repr-Digest: "+digest).wantProblem(digestMismatch)
			a.do("PUT", "/data/f", content, "Repr-Digest: "+digest).want(201)
			r := a.do("GET", "/data/f", nil).want(200)
			if !bytes.Equal(r.body, content) || r.header.Get("Repr-Digest") != digest {
				t.Errorf("%s: %d of %d bytes, digest %s", name, len(r.body), size, r.header.Get("Repr-Digest"))
			}
			for range 10 {
				if size == 0 {
					break
				}
				from := rand.IntN(size)
				to := from + rand.IntN(size-from)
				a.wantRange(t, content, fmt.Sprintf("bytes=%d-%d", from, to), from, to+1)
			}
			a.do("DELETE", "/data/f", nil).want(204)
		}
	}
	f, err := w.node.FS("docs")
	must(t, err)
	report, err := f.Fsck(context.Background(), fsys.FsckOptions{Deep: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("fsck: %+v, %v", report, err)
	}
}

func TestWhatPassesAQuotaIsRefusedAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.as("alice@docs")
	f, err := w.node.FS("docs")
	must(t, err)
	a.do("PUT", "/data/kept", randomBytes(60_000)).want(201)
	bound := int64(100_000)
	_, err = f.SetQuota(context.Background(), fsys.Who{}, fsys.QuotaChange{MaxBytes: &bound})
	must(t, err)
	a.do("PUT", "/data/more", randomBytes(50_000)).wantProblem(quota)
	a.do("PUT", "/data/more", randomBytes(5_000)).want(201)
	a.do("PUT", "/data/kept", randomBytes(100_000)).wantProblem(quota)
	a.do("COPY", "/data/kept", nil, "Destination: /data/copy").wantProblem(quota)
	a.do("GET", "/data/copy", nil).want(404)
	a.do("PUT", "/data/kept", randomBytes(59_000)).want(200)
	a.do("DELETE", "/data/more", nil).want(204)
	if r := a.do("GET", "/data/kept", nil).want(200); !bytes.Equal(r.body, randomBytes(59_000)) {
		t.Error("the file is another")
	}
}
