package journal

import "golang.org/x/sys/unix"

// The journal stops while less than this is free on its volume: a fiftieth of
// it, within bounds. The rest belongs to the stores.
const (
	leastReserve = 16 << 20
	mostReserve  = 1 << 30
)

// volumeRoom returns the bytes that the journal in dir may still take.
func volumeRoom(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	size := int64(st.Blocks) * int64(st.Bsize)
	reserve := min(max(size/50, leastReserve), mostReserve)
	return int64(st.Bavail)*int64(st.Bsize) - reserve, nil
}
