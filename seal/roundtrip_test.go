package seal

import (
	"bytes"
	"crypto/sha256"
	"reflect"
	"testing"
)

// edges are the lengths at which something changes, for segments and frames of
// 1 KiB.
var edges = []int{0, 1, 27, 28, 1023, 1024, 1025, 2048, 3000, 5 << 10, 9<<10 + 1, 200 << 10, 1100<<10 + 5}

func TestWhatIsSealedOpens(t *testing.T) {
	for name, p := range variants() {
		t.Run(name, func(t *testing.T) {
			for _, n := range edges {
				plain := text(n)
				sealings := map[string][]byte{
					"SealBytes": mustSeal(t, p, plain),
					"ReadFrom":  stream(t, p, plain, 0),
					"Write all": stream(t, p, plain, max(n, 1)),
					"Write 700": stream(t, p, plain, 700),
				}
				for how, sealed := range sealings {
					checkOpens(t, how, sealed, plain, !p.NoDigest)
				}
			}
		})
	}
}

func checkOpens(t *testing.T, how string, sealed, plain []byte, digest bool) {
	t.Helper()
	for with, open := range openers {
		for _, known := range []bool{false, true} {
			o := testOpen()
			if known {
				o.Size, o.PlainSize = int64(len(sealed)), int64(len(plain))
			}
			got, tr, err := open(sealed, o)
			if err != nil {
				t.Fatalf("%d bytes, sealed by %s, opened by %s: %v", len(plain), how, with, err)
			}
			if !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes, sealed by %s, opened by %s: other contents", len(plain), how, with)
			}
			want := Trailer{Size: int64(len(plain)), HasDigest: digest, Padding: tr.Padding, Recovery: testRecovery}
			if digest {
				want.SHA256 = sha256.Sum256(plain)
			}
			if !reflect.DeepEqual(*tr, want) {
				t.Fatalf("trailer is %+v, want %+v", *tr, want)
			}
		}
	}
}
