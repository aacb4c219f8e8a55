// Package hygiene looks for keys in the memory of a running server.
package hygiene

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"strings"
)

// needle is a secret and the byte strings that would show it.
type needle struct {
	name  string
	forms []form
}

type form struct {
	name  string
	bytes []byte
}

// newNeedle returns the forms that a key of 32 bytes can take in memory: as it
// is, as text, and as the schedule that AES-256 makes of it.
func newNeedle(name string, key []byte) needle {
	n := textNeedle(name, key)
	if len(key) == 32 {
		n.forms = append(n.forms, schedule(key)...)
	}
	return n
}

// textNeedle returns the forms of a secret that is no AES key.
func textNeedle(name string, secret []byte) needle {
	h := hex.EncodeToString(secret)
	return needle{name, []form{
		{"raw", secret},
		{"hex", []byte(h)},
		{"HEX", []byte(strings.ToUpper(h))},
		{"base64", []byte(strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "="))[:len(secret)]},
		{"base64url", []byte(strings.TrimRight(base64.URLEncoding.EncodeToString(secret), "="))[:len(secret)]},
	}}
}

// schedule returns pieces of the key expansion (FIPS 197, section 5.2) that
// occur in no other place: the last two round keys, as the bytes that the
// hardware's instructions take and as words of a little-endian machine. The
// first two are the key itself.
func schedule(key []byte) []form {
	w := make([]uint32, 60)
	for i := range 8 {
		w[i] = binary.BigEndian.Uint32(key[4*i:])
	}
	rcon := uint32(1)
	for i := 8; i < 60; i++ {
		t := w[i-1]
		switch i % 8 {
		case 0:
			t = subWord(bits.RotateLeft32(t, 8)) ^ rcon<<24
			rcon <<= 1
		case 4:
			t = subWord(t)
		}
		w[i] = w[i-8] ^ t
	}
	var straight, words, first []byte
	for _, x := range w[56:] {
		straight = binary.BigEndian.AppendUint32(straight, x)
		words = binary.LittleEndian.AppendUint32(words, x)
	}
	for _, x := range w[:8] {
		first = binary.LittleEndian.AppendUint32(first, x)
	}
	return []form{{"AES schedule, last round key", straight}, {"AES schedule, last round key in words", words}, {"AES schedule, key in words", first}}
}

func subWord(w uint32) uint32 {
	return uint32(sbox[w>>24])<<24 | uint32(sbox[w>>16&0xff])<<16 | uint32(sbox[w>>8&0xff])<<8 | uint32(sbox[w&0xff])
}

// sbox is computed from AES itself rather than written down: SubBytes of x is
// what one encryption under a chosen key cannot show, so it is taken from the
// field inverse and the affine map of FIPS 197, section 5.1.1.
var sbox = func() (s [256]byte) {
	p, q := byte(1), byte(1)
	for {
		p ^= p<<1 ^ (p>>7)*0x1b // times 3
		q ^= q << 1             // over 3
		q ^= q << 2
		q ^= q << 4
		q ^= (q >> 7) * 0x09
		s[p] = q ^ bits.RotateLeft8(q, 1) ^ bits.RotateLeft8(q, 2) ^ bits.RotateLeft8(q, 3) ^ 0x63
		if p == 1 {
			break
		}
	}
	s[0] = 0x63
	return s
}()

// region is a mapping of a process.
type region struct {
	start, end uint64
	perms      string
	file       string
	flags      string // VmFlags of /proc/PID/smaps
}

// locked reports whether the kernel never writes the region to a swap file or
// a core dump.
func (r region) locked() bool {
	return strings.Contains(r.flags, " lo") && strings.Contains(r.flags, " dd")
}

func (r region) String() string {
	kind := r.file
	if kind == "" {
		kind = "anonymous"
	}
	if r.locked() {
		kind += ", locked"
	}
	return fmt.Sprintf("%x-%x %s (%s)", r.start, r.end, r.perms, kind)
}

// regions reads /proc/PID/smaps.
func regions(pid int) ([]region, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []region
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			all[len(all)-1].flags = flags
			continue
		}
		var r region
		var offset, dev, inode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %s %s", &r.start, &r.end, &r.perms, &offset, &dev, &inode, &r.file); n >= 6 {
			all = append(all, r)
		}
	}
	return all, nil
}

// hit is a form of a secret found in memory.
type hit struct {
	secret, form string
	at           uint64
	where        region
}

// scan reads all that a process can read of its memory and returns where any
// form of a needle lies.
func scan(pid int, needles []needle) (hits []hit, scanned int64, err error) {
	all, err := regions(pid)
	if err != nil {
		return nil, 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, 0, err
	}
	defer mem.Close()
	const step, overlap = 4 << 20, 128
	buf := make([]byte, step+overlap)
	for _, r := range all {
		if r.perms[0] != 'r' || strings.HasPrefix(r.file, "[v") {
			continue
		}
		for at := r.start; at < r.end; at += step {
			n, err := mem.ReadAt(buf[:min(uint64(len(buf)), r.end-at)], int64(at))
			if n == 0 && err != nil {
				continue // a guard page, or given back meanwhile
			}
			scanned += int64(min(n, step))
			hits = append(hits, find(buf[:n], at, r, needles)...)
		}
	}
	clear(buf)
	return hits, scanned, nil
}

func find(b []byte, base uint64, r region, needles []needle) (hits []hit) {
	for _, n := range needles {
		for _, f := range n.forms {
			for from := 0; ; {
				i := bytes.Index(b[from:], f.bytes)
				if i < 0 {
					break
				}
				hits = append(hits, hit{n.name, f.name, base + uint64(from+i), r})
				from += i + 1
			}
		}
	}
	return hits
}
