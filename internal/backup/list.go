package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/efs-project/efs"
)

// A list of contents: a magic, then 24 bytes for each in the order of the ids
// (id ‖ length, big-endian), then the SHA-256 of all before.
const listMagic = "EFSCONT1"

// Content is a blob that a backup refers to.
type Content struct {
	ID     efs.ID
	Sealed int64 // its length, bytes
}

func sortContents(all []Content) {
	slices.SortFunc(all, func(a, b Content) int { return slices.Compare(a.ID[:], b.ID[:]) })
}

func writeList(w io.Writer, all []Content) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	_, err := out.WriteString(listMagic)
	for i := 0; i < len(all) && err == nil; i++ {
		_, err = out.Write(binary.BigEndian.AppendUint64(all[i].ID[:], uint64(all[i].Sealed)))
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		_, err = w.Write(sum.Sum(nil))
	}
	return err
}

// eachContent calls fn for the contents of a backup in the order of their ids.
func (r *Repository) eachContent(name string, fn func(Content) error) error {
	f, err := os.Open(r.listPath(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	bad := fmt.Errorf("%w: the list of contents of backup %s", efs.ErrDamaged, name)
	n := info.Size() - int64(len(listMagic)) - sha256.Size
	if n < 0 || n%24 != 0 {
		return bad
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(f, 1<<20)
	whole := io.TeeReader(io.LimitReader(in, info.Size()-sha256.Size), sum)
	var head [len(listMagic)]byte
	if _, err := io.ReadFull(whole, head[:]); err != nil || string(head[:]) != listMagic {
		return bad
	}
	var b [24]byte
	for range n / 24 {
		if _, err := io.ReadFull(whole, b[:]); err != nil {
			return errors.Join(bad, err)
		}
		if err := fn(Content{efs.ID(b[:16]), int64(binary.BigEndian.Uint64(b[16:]))}); err != nil {
			return err
		}
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(in, want[:]); err != nil || string(want[:]) != string(sum.Sum(nil)) {
		return bad
	}
	return nil
}
