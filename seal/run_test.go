package seal

import (
	"bytes"
	"fmt"
	"testing"
	"testing/iotest"
	"unsafe"
)

// places collects a sealed file and where in memory its pieces came from.
type places struct {
	bytes.Buffer
	writes, astray int
}

func (w *places) Write(p []byte) (int, error) {
	address := int(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	if (address-w.Len())&(runAlign-1) != 0 {
		w.astray++
	}
	w.writes++
	return w.Buffer.Write(p)
}

// TestRunsLieAsInTheFile: every write comes from an address that equals its
// offset modulo a block, whatever the sizes, and the file opens.
func TestRunsLieAsInTheFile(t *testing.T) {
	for _, name := range []string{"aes", "two zstd padded", "no digest"} {
		p := variants()[name]
		if p.FrameSize > 0 {
			p.FrameSize = 64 << 10
		}
		for _, segment := range []int{4 << 10, 64 << 10, 512 << 10, MaxSegmentSize} {
			p.SegmentSize = segment
			for _, size := range []int{0, segment, writeBytes - 1, writeBytes, writeBytes + 1, 3*writeBytes + segment} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, segment, size), func(t *testing.T) {
					plain := text(size)
					var out places
					w, err := NewWriter(&out, &p)
					if err != nil {
						t.Fatal(err)
					}
					defer w.Abort()
					if _, err := w.ReadFrom(bytes.NewReader(plain)); err != nil {
						t.Fatal(err)
					}
					if _, err := w.Close(testRecovery); err != nil {
						t.Fatal(err)
					}
					if out.astray > 0 {
						t.Errorf("%d of %d writes lie elsewhere than in the file", out.astray, out.writes)
					}
					got, _, err := OpenBytes(nil, out.Bytes(), testOpen())
					if err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%d bytes were sealed, others opened: %d, %v", len(plain), len(got), err)
					}
				})
			}
		}
	}
}

// TestEndNeedsNoRun: a file that fills a run takes one write, its end included,
// where its length is known when its last byte comes.
func TestEndNeedsNoRun(t *testing.T) {
	p := one(AES256GCM)
	p.SegmentSize = 64 << 10
	var out places
	w, err := NewWriter(&out, &p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.ReadFrom(iotest.DataErrReader(bytes.NewReader(text(writeBytes)))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(testRecovery); err != nil || out.writes != 1 {
		t.Errorf("%d writes, %v", out.writes, err)
	}
}
