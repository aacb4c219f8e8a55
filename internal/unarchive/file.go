package unarchive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/counted"
	"github.com/efs-project/efs/internal/stage"
)

// file receives a file under a temporary name, and gives it its own when it is
// whole.
func (d *Dir) file(name string, m *archive.Member, write func(io.Writer) error) error {
	if err := d.place(name, m); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(name), stage.TemporaryName())
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = d.fill(f, m, write)
	if err = errors.Join(err, f.Close()); err == nil {
		d.set(d.root.Chtimes(temp, m.Modified, m.Modified))
		err = d.root.Rename(temp, name)
	}
	if err != nil {
		_ = d.root.Remove(temp) // its name tells what it is
	}
	return err
}

func (d *Dir) fill(f *os.File, m *archive.Member, write func(io.Writer) error) error {
	var sum hash.Hash
	out := &counted.Writer{W: f}
	if m.SHA256 != "" && len(m.Lost) == 0 {
		sum = sha256.New()
		out.W = io.MultiWriter(f, sum)
	}
	if write != nil {
		if err := write(out); err != nil {
			return err
		}
	}
	switch {
	case out.N != m.Size:
		return fmt.Errorf("%w: %q has %d bytes of %d", archive.ErrDamaged, m.Name, out.N, m.Size)
	case sum != nil && hex.EncodeToString(sum.Sum(nil)) != m.SHA256:
		return fmt.Errorf("%w: the contents of %q do not have the digest that it tells", archive.ErrDamaged, m.Name)
	}
	mode := 0o666 &^ stage.Umask()
	if m.Mode != 0 {
		mode = fileMode(m.Mode, 0o777) // a file gives nobody another's rights
	}
	if err := d.attributes(f, m); err != nil { // while the file may be written
		return err
	}
	d.set(f.Chmod(mode))
	return nil
}

// fileMode converts permission bits.
func fileMode(mode, mask uint32) fs.FileMode {
	m := fs.FileMode(mode & mask & 0o777)
	for bit, set := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&mask&bit != 0 {
			m |= set
		}
	}
	return m
}
