package record

import (
	"testing"

	"github.com/efs-project/efs"
)

// TestNoTwoLabelsHaveOneNonce, within a run, from run to run, and from one
// opening to the next; and each opens.
func TestNoTwoLabelsHaveOneNonce(t *testing.T) {
	seen := map[string]bool{}
	root := make([]byte, keySize)
	for range 3 {
		s, err := New(efs.ID{1}, root)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for range 300 {
				label, err := s.SealLabel([]byte("a/path"))
				if err != nil {
					t.Fatal(err)
				}
				nonce := string(label[1 : 1+nonceSize])
				if seen[nonce] {
					t.Fatal("a nonce was used twice")
				}
				seen[nonce] = true
				if got, err := s.OpenLabel(label); err != nil || string(got) != "a/path" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			s.labels.run.Load().n.Store(labelRunLength) // the run is used up
		}
	}
	first := map[string]bool{}
	for n := range seen {
		first[n[:12]] = true
	}
	if len(first) != 9 {
		t.Errorf("%d derived keys in 9 runs", len(first))
	}
}

func BenchmarkSealLabel(b *testing.B) {
	s, err := New(efs.ID{1}, make([]byte, keySize))
	if err != nil {
		b.Fatal(err)
	}
	path := []byte("ward/17/scan-00042.dcm")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.SealLabel(path); err != nil {
			b.Fatal(err)
		}
	}
}
