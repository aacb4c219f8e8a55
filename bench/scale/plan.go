package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

// fileSize is the length of every file, bytes.
const fileSize = 1 << 10

// A plan says how many files are stored where. File n lies in directory n mod
// Dirs, so that files stored in order of their numbers, as in the measured runs,
// are strewn over the whole index, which is hardest for it.
type plan struct {
	Files  int `json:"files"`       // in Dirs directories
	Dirs   int `json:"directories"` //
	Big    int `json:"big"`         // files in one directory more
	Sample int `json:"sample"`      // files of a measured run of stores

	Scatter bool `json:"scatter"` // the bulk between the samples goes round the directories too
}

func (p plan) check() error {
	switch {
	case min(p.Files, p.Dirs, p.Big, p.Sample) < 0:
		return fmt.Errorf("numbers of files and directories are not negative")
	case p.Dirs < 10 || p.Files < 10*p.Dirs:
		return fmt.Errorf("at least 10 directories with 10 files each are needed, to delete 9 of 10")
	case p.Sample < 1 || 4*p.Sample > p.Files || 2*p.Sample > p.Big:
		return fmt.Errorf("a sample of %d stores needs at least %d files and %d in the big directory", p.Sample, 4*p.Sample, 2*p.Sample)
	}
	return nil
}

func (p plan) total() int { return p.Files + p.Big }

func (p plan) dir(d int) string { return fmt.Sprintf("d%05d", d) }

// file is the path of file n of Files.
func (p plan) file(n int) string { return fmt.Sprintf("d%05d/file-%08d", n%p.Dirs, n) }

// bulk returns the number of the i-th file of those from ≤ n < to in the order
// in which a tree is copied, a directory after the other.
func (p plan) bulk(from, to, i int) int {
	n := to - from
	short := n / p.Dirs // in every directory,
	long := n % p.Dirs  // and one more in so many, those that come first after from
	d, k := 0, 0
	if i < long*(short+1) {
		d, k = i/(short+1), i%(short+1)
	} else {
		i -= long * (short + 1)
		d, k = long+i/short, i%short
	}
	return from + k*p.Dirs + d
}

// bigName is the name of file n of Big in the big directory: in no order of
// time, as names are not.
func (p plan) bigName(n int) string {
	return fmt.Sprintf("name-%08x", scatter(uint32(n)))
}

func (p plan) bigFile(n int) string { return bigDir + "/" + p.bigName(n) }

const bigDir = "big"

// scatter is a bijection on 32 bits that leaves no order: the finaliser of
// MurmurHash3.
func scatter(x uint32) uint32 {
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return x ^ x>>16
}

// stamp makes body what is stored under path, so that a file read back tells
// whether it is the right one.
func stamp(body []byte, n int) { binary.BigEndian.PutUint64(body, uint64(n)) }

func stamped(body []byte, n int) bool {
	return len(body) == fileSize && binary.BigEndian.Uint64(body) == uint64(n)
}

// bytesAFile is what a file of fileSize takes on the volume: its sealed
// content, its share of the index and of the log, and room for the index to be
// written anew.
const bytesAFile = 4 << 10

// checkSpace refuses a volume that the plan would fill.
func (p plan) checkSpace(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	need, have := int64(p.total())*bytesAFile+2<<30, int64(st.Bavail)*st.Bsize
	if have < need {
		return fmt.Errorf("%d files need %.0f GiB free in '%s', there are %.0f: name another directory with -dir, or fewer files", p.total(), gib(need), dir, gib(have))
	}
	return nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }
