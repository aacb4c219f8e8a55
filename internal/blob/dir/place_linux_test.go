package dir

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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
		// A directory is made once and filled by all that follow: one that cost
		// half a store, which BenchmarkMakeDirs shows to be far too much, would
		// still cost less than 1 % of each.
		if made := directories(target, fanOut) / target; made/2 > 0.01 {
			t.Errorf("%d levels: %.4f directories are made per content", fanOut, made)
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

// TestScatter throws contents into the directories one by one, and looks at
// each directory. EFS_PLACEMENT=1000000000 throws as many as a fan-out is
// chosen for, under each fan-out, which takes a minute or two.
func TestScatter(t *testing.T) {
	n := int64(10_000_000)
	if s := os.Getenv("EFS_PLACEMENT"); s != "" {
		var err error
		if n, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal("EFS_PLACEMENT: ", err)
		}
	}
	for fanOut := minFanOut; fanOut <= maxFanOut; fanOut++ {
		counts := make([]uint16, 1<<(fanBits*fanOut)) // crowd is far below 65,536
		rng := rand.New(rand.NewPCG(3, 4))
		for i := int64(0); i < n; i += 2 { // two places of 32 bits a draw
			x := rng.Uint64()
			counts[uint32(x)>>(32-fanBits*fanOut)]++
			counts[x>>(64-fanBits*fanOut)]++
		}
		fullest := int64(slices.Max(counts))
		t.Logf("%d contents, %d levels: the fullest directory holds %d, at most %d are expected", n, fanOut, fullest, crowd(n, fanOut))
		if mean := float64(n) / leaves(fanOut); fullest > crowd(n, fanOut) || float64(fullest) < mean {
			t.Errorf("%d contents, %d levels: %d in one directory, %.1f in the mean, at most %d expected", n, fanOut, fullest, mean, crowd(n, fanOut))
		}
		made := directories(n, fanOut)
		t.Logf("%d levels: %.0f directories are made, %.6f a content", fanOut, made, made/float64(n))
	}
}

// directories is how many directories n contents are expected to make.
func directories(n int64, fanOut int) (made float64) {
	for level := 1; level <= fanOut; level++ {
		all := leaves(level)
		made += all * -math.Expm1(-float64(n)/all) // but for those that stay empty
	}
	return made
}

// TestNoDirectoryOverflows bounds, for each fan-out that can be asked for on
// each kind of volume, the probability that any directory exceeds its bound
// when target contents lie there (Chernoff's bound of a Poisson tail, summed
// over all directories).
func TestNoDirectoryOverflows(t *testing.T) {
	for fanOut := minFanOut; fanOut <= maxFanOut; fanOut++ {
		for _, maxDir := range []int{fatEntries, manyEntries} {
			m, k := target/leaves(fanOut), float64(maxDir+1)
			p := leaves(fanOut) * math.Exp(k-m-k*math.Log(k/m))
			t.Logf("%d levels, %d entries: reaches %d contents; at %d a directory overflows with probability %.1e", fanOut, maxDir, reached(fanOut, maxDir), target, p)
			if m >= k || p > 1e-9 {
				t.Errorf("%d levels, %d entries: a directory overflows with probability %g", fanOut, maxDir, p)
			}
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
