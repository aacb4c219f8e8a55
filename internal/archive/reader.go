package archive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// block is what a tar is made of.
const block = 512

// Options says how an archive is read.
type Options struct {
	// KeepGoing gives what a damaged archive still holds, and tells what is
	// lost (Losses); without it the first damage ends the reading.
	KeepGoing bool
}

// Reader gives back the members of an archive, in their order. It is used by
// one goroutine. Nothing comes out of it that was not authenticated, but only
// io.EOF from Next says that the archive is whole: what came before an error is
// a true beginning of it.
type Reader struct {
	src  source
	o    Options
	info Info

	body  int64 // bytes of the present member that have not been read
	blank int64 // of them, the last ones that are lost with their places
	end   int64 // where the next header lies
	count int64 // members read
	last  string
	err   error // sticky

	losses []Loss
	astray bool // it is not known where the next header lies
	holes  bool // something of the present member is lost
}

// Open opens the sealed archive in src, size bytes long, and reads its head.
// Before that it authenticates the end, so that a file that is cut off is known
// as such before anything is done with what it holds. Errors: those of
// seal.NewReaderAt, ErrFormat, ErrUnsupported.
func Open(src io.ReaderAt, size int64, ids []seal.Identity, o Options) (*Reader, error) {
	if o.KeepGoing {
		s, err := seal.NewSalvage(src, size, expect(ids))
		if err != nil {
			return nil, err
		}
		return newReader(fromRemains(s), s.Header(), o)
	}
	r, err := seal.NewReaderAt(src, size, expect(ids))
	if err != nil {
		return nil, err
	}
	return newReader(fromFile(r), r.Header(), o)
}

// OpenStream opens a sealed archive that comes in. It cannot keep going: that
// takes a file. Errors: those of seal.NewReader, ErrFormat, ErrUnsupported.
func OpenStream(src io.Reader, ids []seal.Identity) (*Reader, error) {
	r, err := seal.NewReader(src, expect(ids))
	if err != nil {
		return nil, err
	}
	return newReader(&streamed{r: r, closer: r}, r.Header(), Options{})
}

// OpenTar reads the tar of an archive that is not sealed.
func OpenTar(src io.Reader) (*Reader, error) {
	return newReader(&streamed{r: bufio.NewReaderSize(src, 64<<10)}, nil, Options{})
}

func newReader(src source, h *seal.Header, o Options) (*Reader, error) {
	r := &Reader{src: src, o: o}
	err := error(nil)
	if h != nil {
		err = check(h)
	}
	if err == nil {
		err = r.head()
	}
	if err != nil {
		src.close()
		return nil, err
	}
	return r, nil
}

// Info returns the head of the archive. Where that was lost it is zero.
func (r *Reader) Info() Info { return r.info }

// Damaged reports whether anything of the sealed file is lost, were it only its
// end, with which no member goes. Without KeepGoing damage is an error instead.
func (r *Reader) Damaged() bool { return len(r.src.lost()) > 0 }

// Close wipes what is held.
func (r *Reader) Close() error {
	r.err = seal.ErrClosed
	r.src.close()
	return nil
}

// head reads the global header, with which the tar begins.
func (r *Reader) head() error {
	h, err := r.header(0)
	switch {
	case r.o.KeepGoing && (errors.Is(err, errLost) || err == io.EOF || err == io.ErrUnexpectedEOF):
		r.astray = true // Next looks for the first member there is
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF || errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: what is sealed in it is no tar", ErrFormat)
	case err != nil:
		return err
	case h.Typeflag != tar.TypeXGlobalHeader:
		return fmt.Errorf("%w: its tar does not begin with the head of one", ErrFormat)
	}
	if r.info, err = parseInfo(h.PAXRecords["comment"]); err != nil {
		return err
	}
	r.end = padded(r.src.offset())
	return nil
}

// header reads the header at off, which lies at or behind where src stands.
func (r *Reader) header(off int64) (*tar.Header, error) {
	if err := r.src.skip(off - r.src.offset()); err != nil {
		return nil, err
	}
	blocks := blockReader{Reader: r.src, zeros: true}
	h, err := tar.NewReader(&blocks).Next()
	if err == io.EOF && (!blocks.zeros || r.src.offset()-off < 2*block) {
		return nil, io.ErrUnexpectedEOF // it does not end as a tar does
	}
	return h, err
}

// blockReader hides everything else that a reader can do, and knows whether all
// that was read is zero.
type blockReader struct {
	io.Reader
	zeros bool
}

func (b *blockReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	for _, c := range p[:n] {
		b.zeros = b.zeros && c == 0
	}
	return n, err
}

// Next passes on to the next member. io.EOF tells that there is none, and that
// the archive is whole, but for what Losses tells.
func (r *Reader) Next() (*Member, error) {
	if r.err == nil {
		m, err := r.next()
		if err == nil {
			return m, nil
		}
		r.err = err
	}
	return nil, r.err
}

func (r *Reader) next() (*Member, error) {
	r.zeros(false)
	r.body, r.blank = 0, 0
	h, err := (*tar.Header)(nil), errLost
	if !r.astray {
		h, err = r.header(r.end)
	}
	if err != nil && err != io.EOF && r.o.KeepGoing {
		h, err = r.rescan(r.end)
	}
	if err == io.EOF {
		if err := r.src.finish(); err != nil && !r.o.KeepGoing {
			return nil, err
		}
		return nil, io.EOF
	}
	if err == io.ErrUnexpectedEOF || errors.Is(err, tar.ErrHeader) {
		return nil, fmt.Errorf("%w: its tar breaks off or is malformed after %q", ErrFormat, r.last)
	}
	if err != nil {
		return nil, err
	}
	m, err := memberOf(h)
	if err != nil {
		return nil, err
	}
	if m.Removed && (r.count != 0 || r.info.FS != "" && r.info.Since == 0) {
		return nil, fmt.Errorf("%w: a list of removed paths where none may be", ErrFormat)
	}
	r.body, r.last, r.holes = m.Size, m.Name, false
	r.count++
	r.end, r.astray = r.src.offset()+padded(m.Size), false
	r.lostIn(m)
	r.holes = len(m.Lost) > 0
	r.zeros(r.o.KeepGoing)
	return m, nil
}

// zeros says how lost parts read.
func (r *Reader) zeros(as bool) {
	if b, ok := r.src.(*blocks); ok {
		b.zeros = as
	}
}

// Read reads contents of the present member.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.body == 0 {
		return 0, io.EOF
	}
	if r.body <= r.blank {
		n := int(min(int64(len(p)), r.body))
		clear(p[:n])
		r.body -= int64(n)
		return n, nil
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.body-r.blank)])
	r.body -= int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%w: its tar breaks off in %q", ErrFormat, r.last)
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

// EachRemoved calls fn for each path of the list of what an incremental archive
// removes, the present member (Member.Removed). Of a list that is not whole it
// calls it for none: half a path may be the name of something else.
func (r *Reader) EachRemoved(fn func(path string) error) error {
	if r.holes {
		return nil // Losses tells
	}
	b := bufio.NewReaderSize(r, efs.MaxPath+1) // no path is longer
	for {
		raw, err := b.ReadSlice(0)
		if err == io.EOF && len(raw) == 0 {
			return nil
		}
		if r.err != nil && r.err != io.EOF {
			return r.err
		}
		if err != nil {
			return fmt.Errorf("%w: its list of removed paths breaks off", ErrFormat)
		}
		p := string(raw[:len(raw)-1])
		if p != "." && !ValidName(p) {
			return fmt.Errorf("%w: %q cannot be a removed path", ErrFormat, p)
		}
		if err := fn(p); err != nil {
			return err
		}
	}
}

// padded rounds up to whole blocks.
func padded(n int64) int64 { return (n + block - 1) / block * block }
