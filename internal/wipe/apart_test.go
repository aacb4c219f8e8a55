package wipe

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// careless leaves a secret, a XOR b, on its stack, and has the garbage
// collector run where its caller has little of the stack in use.
func careless(a, b *[32]byte) {
	leave(a, b)
	runtime.GC()
	runtime.GC()
}

//go:noinline
func leave(a, b *[32]byte) {
	var s [4 << 10]byte // what the collector is called with does not reach down to its beginning
	for i := range a {
		s[i] = a[i] ^ b[i]
	}
	use(&s)
}

//go:noinline
func use(s *[4 << 10]byte) { s[len(s)-1]++ }

// occurrences counts a XOR b in the memory of this process.
func occurrences(t *testing.T, a, b *[32]byte) (n int) {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Skip("memory is only searched on Linux")
	}
	defer maps.Close()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	buf := make([]byte, 1<<20+len(a))
	for s := bufio.NewScanner(maps); s.Scan(); {
		var from, to int64
		if _, err := fmt.Sscanf(s.Text(), "%x-%x rw", &from, &to); err != nil || strings.Contains(s.Text(), "[v") {
			continue
		}
		for at := from; at < to; at += 1 << 20 {
			k, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			n += count(buf[:k], a, b)
		}
	}
	clear(buf)
	return n
}

func count(mem []byte, a, b *[32]byte) (n int) {
	start := []byte{a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]}
	for {
		i := bytes.Index(mem, start)
		if i < 0 || i+len(a) > len(mem) {
			return n
		}
		same := true
		for j := range a {
			same = same && mem[i+j] == a[j]^b[j]
		}
		if same {
			n++
		}
		mem = mem[i+1:]
	}
}

func TestApartLeavesNothing(t *testing.T) {
	a, b := new([32]byte), new([32]byte)
	_, _ = rand.Read(a[:])
	_, _ = rand.Read(b[:])
	for range 20 {
		Apart(func() { careless(a, b) })
	}
	if n := occurrences(t, a, b); n != 0 {
		t.Errorf("%d times in memory", n)
	}
}

// The search finds what is there.
func TestOccurrencesFindsASecret(t *testing.T) {
	a, b := new([32]byte), new([32]byte)
	_, _ = rand.Read(a[:])
	_, _ = rand.Read(b[:])
	secret := make([]byte, len(a))
	subtle.XORBytes(secret, a[:], b[:])
	if occurrences(t, a, b) == 0 {
		t.Error("not found where it is")
	}
	runtime.KeepAlive(secret)
}

func TestApartPassesPanicsOn(t *testing.T) {
	defer func() {
		if recover() != "as asked" {
			t.Error("the panic did not arrive")
		}
	}()
	Apart(func() { panic("as asked") })
}
