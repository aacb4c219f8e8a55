package dir

import (
	"math"

	"github.com/efs-project/efs"
)

const (
	minFanOut = 2
	maxFanOut = 3
	fanBits   = 8 // a hex pair a level

	// target is how many contents a fan-out is chosen for.
	target = 1_000_000_000
)

// place returns the directory and the path of a blob, below the root.
func place(id efs.ID, fanOut int) (dir, path string) {
	name := id.String()
	b := make([]byte, 0, 3*maxFanOut+len(name))
	for level := range fanOut {
		b = append(b, name[2*level], name[2*level+1], '/')
	}
	end := len(b)
	path = string(append(b, name...))
	return path[:end-1], path
}

// crowd returns how many of n contents under random ids the fullest directory
// holds. The counts are Poisson; by Bernstein's inequality one exceeds its mean
// m by sqrt(2mt)+t/3 with a probability of at most e^-t. With t = 24.5 that is
// expected of 0.0004 of the 2^24 directories of three levels: of none.
func crowd(n int64, fanOut int) int64 {
	mean := float64(n) / leaves(fanOut)
	return int64(math.Ceil(mean + crowdRoot*math.Sqrt(mean) + crowdRest))
}

const (
	crowdRoot = 7 // sqrt(2t)
	crowdRest = crowdRoot * crowdRoot / 6.0
)

// leaves is how many directories hold contents.
func leaves(fanOut int) float64 { return math.Exp2(float64(fanBits * fanOut)) }

// reached is how many contents fit before a directory passes maxDir entries:
// the inverse of crowd.
func reached(fanOut, maxDir int) int64 {
	const half = crowdRoot / 2.0
	root := math.Sqrt(float64(maxDir)-crowdRest+half*half) - half
	return int64(root * root * leaves(fanOut))
}

// isPair reports whether a name can be that of a fan-out directory.
func isPair(name string) bool {
	return len(name) == 2 && isHex(name[0]) && isHex(name[1])
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// blobName reads the name of a blob's file; only the form that place writes
// counts.
func blobName(name string) (id efs.ID, ok bool) {
	if len(name) != 36 {
		return id, false
	}
	id, err := efs.ParseID(name)
	return id, err == nil && id.String() == name
}
