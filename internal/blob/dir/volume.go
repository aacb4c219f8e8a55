package dir

// volume is what a kind of file system can do, as far as placement depends on
// it.
type volume struct {
	name   string
	maxDir int  // entries that no directory is to exceed
	loose  bool // no journal keeps a rename whole
	direct bool // large blobs are best written past the page cache
}

const (
	// manyEntries is where directories stop being comfortable anywhere:
	// backups and listings over a network read them whole.
	manyEntries = 65_535
	// fatEntries: a FAT directory holds 65,536 slots of 32 bytes; a name of 36
	// characters takes four of them.
	fatEntries = 16_383
)

// fanOut chooses the levels for a volume: the fewest at which target contents
// fill no directory beyond its bound. More levels would cost directories, and
// so inodes, for nothing.
func (v volume) fanOut() int {
	for n := minFanOut; n < maxFanOut; n++ {
		if crowd(target, n) <= int64(v.maxDir) {
			return n
		}
	}
	return maxFanOut
}
