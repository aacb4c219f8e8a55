package dir

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestPlace(t *testing.T) {
	id, err := efs.ParseID("0a1b2c3d-0000-4000-8000-000000000000")
	if err != nil {
		t.Fatal(err)
	}
	for fanOut, want := range map[int]string{2: "0a/1b", 3: "0a/1b/2c"} {
		if dir, path := place(id, fanOut); dir != want || path != want+"/"+id.String() {
			t.Errorf("%d levels: %s, %s", fanOut, dir, path)
		}
	}
}

// TestPlacementOfABillion places 10^9 contents under random ids, by drawing how
// many of them each directory gets, and looks at the fullest directory under
// the fan-out that each kind of volume is given.
func TestPlacementOfABillion(t *testing.T) {
	seen := map[string]volume{"unknown": {name: "unknown", maxDir: fatEntries}}
	for _, v := range volumes {
		seen[v.name] = v
	}
	fullest := map[int]int64{}
	for fanOut := minFanOut; fanOut <= maxFanOut; fanOut++ {
		fullest[fanOut] = scatter(target, fanOut)
		t.Logf("%d levels: fullest directory holds %d, expected at most %d", fanOut, fullest[fanOut], crowd(target, fanOut))
		if fullest[fanOut] > crowd(target, fanOut) {
			t.Errorf("%d levels: %d in one directory, expected at most %d", fanOut, fullest[fanOut], crowd(target, fanOut))
		}
		// A directory is made once and filled by all that follow.
		if made := math.Exp2(float64(fanBits * fanOut)); made/target > 0.02 {
			t.Errorf("%d levels: %.4f directories are made per content", fanOut, made/target)
		}
	}
	for name, v := range seen {
		n := v.fanOut()
		if fullest[n] > int64(v.maxDir) {
			t.Errorf("%s: %d levels put %d entries into a directory, at most %d", name, n, fullest[n], v.maxDir)
		}
		if r := reached(n, v.maxDir); r < target {
			t.Errorf("%s: %d levels reach %d contents only", name, n, r)
		}
	}
	if v := (volume{maxDir: 10_000}); v.fanOut() != 3 {
		t.Errorf("a volume for %d entries gets %d levels", v.maxDir, v.fanOut())
	}
}

// scatter throws n contents into the leaves of a fan-out and returns what the
// fullest holds. Level by level, each directory's contents are split over its
// 256 children, which is the same as throwing them one by one. Of three levels
// a sample of the subtrees stands for all.
func scatter(n int64, fanOut int) (fullest int64) {
	rng := rand.New(rand.NewPCG(1, 2))
	level := []int64{n}
	for range fanOut {
		if len(level) > 1<<12 {
			level = level[:1<<12]
		}
		var next []int64
		for _, count := range level {
			next = append(next, split(rng, count)...)
		}
		level = next
	}
	for _, count := range level {
		fullest = max(fullest, count)
	}
	return fullest
}

// split draws how n contents fall on 256 directories (multinomially, each
// binomial share by its normal approximation where that is close).
func split(rng *rand.Rand, n int64) []int64 {
	shares := make([]int64, 1<<fanBits)
	for i := range shares {
		p := 1 / float64(len(shares)-i)
		shares[i] = binomial(rng, n, p)
		n -= shares[i]
	}
	return shares
}

func binomial(rng *rand.Rand, n int64, p float64) (k int64) {
	if mean := float64(n) * p; mean > 1000 {
		return min(n, max(0, int64(math.Round(mean+rng.NormFloat64()*math.Sqrt(mean*(1-p))))))
	}
	if p == 1 {
		return n
	}
	// Counts the successes by drawing the gaps between them.
	for i := int64(0); ; k++ {
		i += 1 + int64(math.Log(1-rng.Float64())/math.Log(1-p))
		if i > n {
			return k
		}
	}
}

func TestReachedIsTheInverseOfCrowd(t *testing.T) {
	for fanOut := minFanOut; fanOut <= maxFanOut; fanOut++ {
		for _, maxDir := range []int{1000, fatEntries, manyEntries} {
			if n := reached(fanOut, maxDir); crowd(n, fanOut) > int64(maxDir) || crowd(n+n/1000, fanOut) < int64(maxDir) {
				t.Errorf("%d levels, %d entries: reached %d, where the fullest has %d", fanOut, maxDir, n, crowd(n, fanOut))
			}
		}
	}
}

func TestBlobName(t *testing.T) {
	id := efs.NewID()
	if got, ok := blobName(id.String()); !ok || got != id {
		t.Errorf("%v, %v", got, ok)
	}
	for _, name := range []string{"", "layout", id.String() + ".tmp", strings.ToUpper("0a1b2c3d-0000-4000-8000-00000000000f"),
		"{" + id.String() + "}", "urn:uuid:" + id.String(), strings.ReplaceAll(id.String(), "-", "")} {
		if _, ok := blobName(name); ok {
			t.Errorf("%q is taken for a blob", name)
		}
	}
}
