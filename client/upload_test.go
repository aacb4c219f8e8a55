package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"testing"
	"time"
)

// However small the parts are to be, there are never too many.
func TestAnUploadHasNoMorePartsThanAServerTakes(t *testing.T) {
	for _, size := range []int64{1, 999, 1000, 1001, 1_000_000_007, 1 << 50} {
		for _, part := range []int64{1, 1000, 16 << 20} {
			u := &upload{size: size, o: UploadOptions{PartSize: part}}
			for u.sent < u.size {
				n := u.partSize()
				if n < part {
					t.Fatalf("a part of %d bytes", n)
				}
				u.sent += min(n, u.size-u.sent)
				u.parts = append(u.parts, uploadPart{})
			}
			if len(u.parts) > maxParts {
				t.Errorf("%d bytes in %d parts", size, len(u.parts))
			}
		}
	}
}

// cutting is a file that cannot be read from an offset on, once.
type cutting struct {
	io.ReaderAt
	at  int64
	err error
}

func (c *cutting) ReadAt(b []byte, off int64) (int, error) {
	if c.err != nil && off+int64(len(b)) > c.at {
		return 0, c.err
	}
	return c.ReaderAt.ReadAt(b, off)
}

func sumOf(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func TestAnUploadInPartsIsAFile(t *testing.T) {
	c, _ := dial(t)
	ctx := t.Context()
	when := time.Date(2001, 2, 3, 4, 5, 6, 789012000, time.UTC)
	for _, size := range []int{0, 1, 100_000, 100_001, 350_000, 400_000} {
		content := randomBytes(t, size)
		told := int64(0)
		o := UploadOptions{PartSize: 100_000, PutOptions: PutOptions{Type: "a/b", Mode: 0o640, Modified: when, Meta: map[string]string{"ward": "7"}, Progress: func(n int64) { told += n }}}
		stored, err := c.Upload(ctx, "/dir/file", bytes.NewReader(content), int64(size), o)
		if err != nil || stored.Size != int64(size) || stored.SHA256 != sumOf(content) || stored.Path != "/dir/file" || told != int64(size) {
			t.Fatalf("%d bytes: %+v, %v; told of %d", size, stored, err, told)
		}
		if got, err := c.ReadFile(ctx, "/dir/file"); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: read %d, %v", size, len(got), err)
		}
		e, err := c.Stat(ctx, "/dir/file")
		if err != nil || e.Type != "a/b" || e.Mode != 0o640 || !e.Modified.Equal(when) || e.Meta["ward"] != "7" || e.SHA256 != sumOf(content) || e.Version != stored.Version {
			t.Errorf("%d bytes: %+v, %v", size, e, err)
		}
	}
	content := randomBytes(t, 5000)
	mustPut(t, c, "/many", content)
	if _, err := c.Upload(ctx, "/many", bytes.NewReader(content), 5000, UploadOptions{PartSize: 1000, PutOptions: PutOptions{IfNoneMatch: true}}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := c.Upload(ctx, "/short", bytes.NewReader(content), 6000, UploadOptions{PartSize: 1000}); !errors.Is(err, ErrBadInput) {
		t.Errorf("a file that is shorter: %v", err)
	}
	if _, err := c.Upload(ctx, "/wrong", bytes.NewReader(content), 5000, UploadOptions{PartSize: 1000, PutOptions: PutOptions{SHA256: sumOf(nil)}}); !errors.Is(err, ErrDigest) {
		t.Errorf("another digest: %v", err)
	}
	for _, path := range []string{"/short", "/wrong"} {
		if _, err := c.Stat(ctx, path); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAnUploadGoesOnWhereItBrokeOff(t *testing.T) {
	c, _ := dial(t)
	ctx := t.Context()
	content := randomBytes(t, 1_000_000)
	lost := errors.New("the disk is away")
	var ids []string
	sent := int64(0)
	o := UploadOptions{PartSize: 100_000, Started: func(id string) { ids = append(ids, id) }}
	file := &cutting{bytes.NewReader(content), 450_000, lost}
	if _, err := c.Upload(ctx, "/f", file, 1_000_000, o); !errors.Is(err, lost) || len(ids) != 1 {
		t.Fatalf("%v, %q", err, ids)
	}
	if _, err := c.Stat(ctx, "/f"); !errors.Is(err, ErrNotFound) {
		t.Errorf("there is something of it: %v", err)
	}
	// Other parts, a byte that is another now, and what was there before is not sent.
	content[150_000] ^= 1
	file.err = nil
	o.Resume, o.PartSize = ids[0], 300_000
	o.Progress = func(n int64) { sent += n }
	w := watched(c)
	var parts []string
	w.respond = func(req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.Method == http.MethodPut {
			parts = append(parts, path.Base(req.URL.Path))
		}
		resp, err := send()
		if path.Base(req.URL.Path) == "complete" && len(parts) > 0 && err == nil {
			w.respond = nil
			drain(resp.Body)
			return nil, io.ErrUnexpectedEOF // the answer is lost, once
		}
		return resp, err
	}
	stored, err := c.Upload(ctx, "/f", file, 1_000_000, o)
	if want := []string{"2", "5", "6"}; !slices.Equal(parts, want) {
		t.Errorf("parts %q were sent, want %q", parts, want)
	}
	if err != nil || stored.SHA256 != sumOf(content) || sent != 1_000_000 || len(ids) != 2 || ids[1] != ids[0] {
		t.Fatalf("%+v, %v; %d bytes told, %q", stored, err, sent, ids)
	}
	if got, err := c.ReadFile(ctx, "/f"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// An upload that is no more is begun anew.
	if _, err := c.Upload(ctx, "/f", file, 1_000_000, o); err != nil || len(ids) != 3 || ids[2] == ids[0] {
		t.Errorf("%v, %q", err, ids)
	}
	// One of another path is refused.
	o.Resume = ""
	file.err = lost
	_, _ = c.Upload(ctx, "/f", file, 1_000_000, o)
	o.Resume = ids[len(ids)-1]
	if _, err := c.Upload(ctx, "/g", file, 1_000_000, o); !errors.Is(err, ErrBadInput) {
		t.Errorf("resumed at another path: %v", err)
	}
	// Without Started what failed is dropped.
	o.Started = nil
	if _, err := c.Upload(ctx, "/f", file, 1_000_000, o); !errors.Is(err, lost) {
		t.Error(err)
	}
	o.Started = func(id string) { ids = append(ids, id) }
	file.err = nil
	if _, err := c.Upload(ctx, "/f", file, 1_000_000, o); err != nil || ids[len(ids)-1] == o.Resume {
		t.Errorf("%v: an upload that was dropped was gone on with", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Upload(ended, "/f", file, 1_000_000, UploadOptions{PartSize: 1}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
