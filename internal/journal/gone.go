package journal

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// look begins the journal again if files of it are gone: what is written to a
// log without a name leads nobody anywhere.
func (k *Keeper) look() {
	if k.broken || k.making != nil || k.whole() {
		return
	}
	k.log.Error("files of the journal are gone; it begins again with a checkpoint")
	k.miss(time.Time{})
}

// whole reports whether the files are there that the journal consists of, as far
// as names tell.
func (k *Keeper) whole() bool {
	files, err := list(k.o.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return true // it cannot be told
	}
	logs, checkpoint := 0, k.base == 0
	for _, f := range files {
		switch {
		case f.number < k.first:
		case f.kind == kindLog:
			logs++
		default:
			checkpoint = checkpoint || f.number == k.first
		}
	}
	if logs < k.logs || !checkpoint || k.current == nil {
		return logs >= k.logs && checkpoint
	}
	named, err := os.Stat(filepath.Join(k.o.Dir, fileName(k.current.number, logSuffix)))
	open, oerr := k.current.f.Stat()
	return oerr != nil || err == nil && os.SameFile(named, open)
}
