package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Account is what the index of a stopped server takes on the volume.
type Account struct {
	File    int64             `json:"file_bytes"`    // index.db, free pages and reserve included
	Log     int64             `json:"log_bytes"`     // the write-ahead log beside it
	Buckets map[string]Bucket `json:"buckets"`       // what the pages of index.db hold
	PerFile float64           `json:"bytes_a_file"`  // beyond inline data and log, the whole of File counted
	InUse   float64           `json:"in_use_a_file"` // the same without free pages and reserve
}

// Bucket is what one bucket of the index takes.
type Bucket struct {
	Pages   int64 `json:"page_bytes"`
	Payload int64 `json:"payload_bytes"` // keys and values
	Records int64 `json:"records"`
}

// account measures the index at path, which holds so many files. Buckets of
// very many pages are measured by a sample of their leaves.
func account(path string, files int64) (Account, error) {
	a := Account{Buckets: map[string]Bucket{}}
	info, err := os.Stat(path)
	if err != nil {
		return a, err
	}
	a.File = info.Size()
	logs, err := filepath.Glob(path + "?*")
	if err != nil {
		return a, err
	}
	for _, l := range logs {
		n, err := sizeBelow(l)
		if err != nil {
			return a, err
		}
		a.Log += n
	}
	file, err := os.Open(path)
	if err != nil {
		return a, err
	}
	defer file.Close()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return a, err
	}
	defer db.Close()
	var used int64
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if b.Root() == 0 { // so small that it lies in the page that names it
				a.Buckets[string(name)] = Bucket{Records: int64(b.Stats().KeyN)}
				return nil
			}
			t := tree{file: file, page: int64(db.Info().PageSize)}
			got, err := t.measure(uint64(b.Root()))
			if err != nil {
				return fmt.Errorf("bucket %s: %w", name, err)
			}
			a.Buckets[string(name)] = got
			used += got.Pages
			return nil
		})
	})
	if err != nil {
		return a, err
	}
	beyond := a.Buckets["inline"].Payload + a.Buckets["changes"].Pages
	a.PerFile = float64(a.File-beyond) / float64(files)
	a.InUse = float64(used-beyond) / float64(files)
	return a, nil
}

// tree walks the pages of a B+tree of bbolt, whose branches are few: every
// leaf, or of a large tree one in stride, at regular distances.
type tree struct {
	file     io.ReaderAt
	page     int64
	buf      []byte
	branches int64 // bytes
}

const (
	pageHeader = 16 // id, flags, count, overflow
	element    = 16 // of a branch: pos, key length, page; of a leaf: flags, pos, key length, value length
	branchFlag = 0x01
	leafFlag   = 0x02
	manyLeaves = 200_000
	stride     = 29
)

func (t *tree) measure(root uint64) (Bucket, error) {
	leaves, err := t.collect(root)
	if err != nil {
		return Bucket{}, err
	}
	step := 1
	if len(leaves) > manyLeaves {
		step = stride
	}
	var sum Bucket
	n := 0
	for i := 0; i < len(leaves); i += step {
		p, err := t.read(leaves[i])
		if err != nil {
			return Bucket{}, err
		}
		if p.flags != leafFlag {
			return Bucket{}, fmt.Errorf("page %d has the flags %#x of no leaf", leaves[i], p.flags)
		}
		sum.Pages += t.page * int64(1+p.overflow)
		sum.Records += int64(p.count)
		for j := range p.count {
			e := p.element(j)
			sum.Payload += int64(binary.NativeEndian.Uint32(e[8:])) + int64(binary.NativeEndian.Uint32(e[12:]))
		}
		n++
	}
	scale := func(v int64) int64 { return int64(float64(v) * float64(len(leaves)) / float64(max(n, 1))) }
	return Bucket{Pages: t.branches + scale(sum.Pages), Payload: scale(sum.Payload), Records: scale(sum.Records)}, nil
}

// collect returns the leaves below a page. All leaves are equally deep, so
// that only the first has to be read to know that the level is one of leaves.
func (t *tree) collect(root uint64) ([]uint64, error) {
	level := []uint64{root}
	for {
		first, err := t.read(level[0])
		if err != nil {
			return nil, err
		}
		if first.flags == leafFlag {
			return level, nil
		}
		var next []uint64
		for _, id := range level {
			p, err := t.read(id)
			if err != nil {
				return nil, err
			}
			if p.flags != branchFlag || p.count == 0 {
				return nil, fmt.Errorf("page %d has the flags %#x of no branch", id, p.flags)
			}
			t.branches += t.page * int64(1+p.overflow)
			for i := range p.count {
				next = append(next, binary.NativeEndian.Uint64(p.element(i)[8:]))
			}
		}
		level = next
	}
}

type page struct {
	flags    uint16
	count    int
	overflow uint32
	elements []byte
}

func (p *page) element(i int) []byte { return p.elements[i*element:][:element] }

// read reads the head of a page and its elements, without keys and values. It
// is valid until the next call.
func (t *tree) read(id uint64) (p page, err error) {
	if t.buf == nil {
		t.buf = make([]byte, t.page)
	}
	if _, err := t.file.ReadAt(t.buf, int64(id)*t.page); err != nil {
		return p, err
	}
	if have := binary.NativeEndian.Uint64(t.buf); have != id {
		return p, fmt.Errorf("page %d says that it is page %d", id, have)
	}
	p.flags = binary.NativeEndian.Uint16(t.buf[8:])
	p.count = int(binary.NativeEndian.Uint16(t.buf[10:]))
	p.overflow = binary.NativeEndian.Uint32(t.buf[12:])
	if need := pageHeader + p.count*element; need > len(t.buf) {
		t.buf = append(t.buf, make([]byte, need-len(t.buf))...)
		if _, err := t.file.ReadAt(t.buf, int64(id)*t.page); err != nil {
			return p, err
		}
	}
	p.elements = t.buf[pageHeader:]
	return p, nil
}

// sizeBelow is the length of a file, or of all files below a directory.
func sizeBelow(path string) (n int64, err error) {
	err = filepath.Walk(path, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// table tells which bucket costs what, for each of so many files.
func (a Account) table(files int64) string {
	var b strings.Builder
	for _, name := range []string{"entries", "files", "inline", "changes", "names", "places", "queue", "work"} {
		if c, ok := a.Buckets[name]; ok {
			fmt.Fprintf(&b, "  %-8s %10d records, %6.1f bytes each, %6.1f with their pages; %7.1f a file\n", name, c.Records,
				float64(c.Payload)/float64(max(c.Records, 1)), float64(c.Pages)/float64(max(c.Records, 1)), float64(c.Pages)/float64(files))
		}
	}
	fmt.Fprintf(&b, "  index.db %.2f GiB, log %.0f MiB; beyond inline data and log %.0f bytes a file, of them in use %.0f\n",
		gib(a.File), float64(a.Log)/(1<<20), a.PerFile, a.InUse)
	return b.String()
}
