package contentcache

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// arena is the memory that a cache lies in.
type arena struct {
	mem     []byte
	buddies *buddies
	file    *os.File // that mem maps; nil in memory
}

// newArena maps o.Size bytes, rounded down to pages.
func newArena(o *Options) (*arena, error) {
	pages := int(o.Size / minBlock)
	a := &arena{buddies: newBuddies(pages)}
	flags, fd := unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1
	if o.Where != Memory {
		f, err := openFile(o, int64(pages)*minBlock)
		if err != nil {
			return nil, err
		}
		a.file, flags, fd = f, unix.MAP_SHARED, int(f.Fd())
	}
	mem, err := unix.Mmap(fd, 0, pages*minBlock, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mapping %d bytes: %w", pages*minBlock, err), a.closeFile())
	}
	a.mem = mem
	if err := a.protect(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// mlockOnFault is MLOCK_ONFAULT of mlock2(2): a page is locked when it is
// first written to, so that a large cache takes memory as it fills.
const mlockOnFault = 1

// protect keeps the arena out of the swap, out of core dumps and out of
// children.
func (a *arena) protect() error {
	if err := lock(a.mem); err != nil {
		return fmt.Errorf("locking %d MiB of memory (%w): allow this process so much more locked memory "+
			"(LimitMEMLOCK= in a systemd unit, docker run --ulimit memlock=BYTES:BYTES, ulimit -l KIB), or make [cache] size smaller", len(a.mem)>>20, err)
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_DONTFORK} {
		if err := unix.Madvise(a.mem, advice); err != nil {
			return fmt.Errorf("keeping the cache out of core dumps: %w", err)
		}
	}
	return nil
}

func (a *arena) bytes(b block) []byte {
	from := b.page * minBlock
	to := from + int(b.size())
	return a.mem[from:to:to]
}

func (a *arena) alloc(n int64) (block, bool) { return a.buddies.alloc(n) }

// free overwrites a block and gives it back.
func (a *arena) free(b block) {
	clear(a.bytes(b))
	a.buddies.release(b)
}

// close gives the memory back. Free blocks were overwritten when they became
// so, and the others are no more when it is called.
func (a *arena) close() error {
	return errors.Join(unix.Munmap(a.mem), a.closeFile())
}

// closeFile removes the file.
func (a *arena) closeFile() error {
	if a.file == nil {
		return nil
	}
	return errors.Join(os.Remove(a.file.Name()), a.file.Close())
}
