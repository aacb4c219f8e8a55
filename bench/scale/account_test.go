package main

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// What is counted from the pages is what bbolt itself counts, whatever the
// sizes of pages and values.
func TestAccountAgreesWithBolt(t *testing.T) {
	for _, pageSize := range []int{4 << 10, 16 << 10} {
		path := filepath.Join(t.TempDir(), "index.db")
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		sizes := map[string]int{"inline": 1461, "changes": 330, "entries": 257, "blobs": 9000}
		want := map[string]Bucket{}
		for name, size := range sizes {
			err := db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte(name))
				for n := range 5000 {
					k := binary.BigEndian.AppendUint64(nil, rand.Uint64())
					if n%3 == 0 {
						k = append(k, "longer"...)
					}
					if err == nil {
						err = b.Put(k, make([]byte, size+n%7))
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err = db.View(func(tx *bbolt.Tx) error {
			for name := range sizes {
				b := tx.Bucket([]byte(name))
				st := b.Stats()
				sum := Bucket{Records: int64(st.KeyN)}
				sum.Pages = int64(st.BranchPageN+st.BranchOverflowN+st.LeafPageN+st.LeafOverflowN) * int64(pageSize)
				err := b.ForEach(func(k, v []byte) error {
					sum.Payload += int64(len(k) + len(v))
					return nil
				})
				if err != nil {
					return err
				}
				want[name] = sum
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := account(path, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range want {
			if got.Buckets[name] != w {
				t.Errorf("pages of %d bytes, %s: counted %+v, bbolt says %+v", pageSize, name, got.Buckets[name], w)
			}
		}
		if beyond := got.File - want["inline"].Payload - want["changes"].Pages; got.PerFile != float64(beyond)/1000 {
			t.Errorf("%.1f bytes a file instead of %.1f", got.PerFile, float64(beyond)/1000)
		}
	}
}
