package server

import (
	"errors"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
)

// get answers GET and HEAD of a file; of a directory, its listing.
func (x *exchange) get(t target) error {
	if t.dir {
		return x.list(t)
	}
	if err := x.query().done(); err != nil {
		return err
	}
	if !x.rights.May(access.Read, t.path) {
		return x.getUnread(t.path)
	}
	if x.r.Method == http.MethodHead {
		return x.head(t)
	}
	f, err := x.fs.Open(x.r.Context(), t.path)
	if errors.Is(err, efs.ErrIsDir) {
		return x.toDirectory()
	}
	if err != nil {
		return readProblem(err)
	}
	defer f.Close()
	e := f.Entry()
	x.object = e.File
	v, err := judgeRead(x.r.Header, e.ETag, modified(&e))
	if err != nil || v != goOn {
		return x.verdict(v, err, &e)
	}
	x.describe(&e)
	if r := x.r.Header.Get("Range"); r != "" && rangeStillValid(x.r.Header, e.ETag, modified(&e)) {
		if spans, whole := parseRange(r, e.Size); !whole {
			return x.sendRanges(f, &e, spans)
		}
	}
	x.set("Content-Length", strconv.FormatInt(e.Size, 10))
	return x.sendSpan(f, http.StatusOK, span{0, e.Size})
}

// head answers HEAD without opening the content.
func (x *exchange) head(t target) error {
	e, err := x.fs.Stat(x.r.Context(), t.path)
	if err != nil {
		return readProblem(err)
	}
	x.object = e.File
	if e.Kind == efs.KindDir {
		x.describeDir(&e)
		return x.toDirectory()
	}
	v, err := judgeRead(x.r.Header, e.ETag, modified(&e))
	if err != nil || v != goOn {
		return x.verdict(v, err, &e)
	}
	x.describe(&e)
	x.set("Content-Length", strconv.FormatInt(e.Size, 10))
	x.WriteHeader(http.StatusOK)
	return nil
}

// verdict ends a read whose preconditions do not let it go on.
func (x *exchange) verdict(v verdict, err error, e *efs.Entry) error {
	if err != nil {
		return err
	}
	x.Header().Set("ETag", quoted(e.ETag))
	if v == notModified {
		x.Header().Set("Cache-Control", cachePolicy)
		x.WriteHeader(http.StatusNotModified)
		return nil
	}
	return preconditionFailed.with("The file has another ETag or date now. Read it again before deciding what to do.")
}

// toDirectory sends a reader of a directory's name to the directory, as web
// servers do.
func (x *exchange) toDirectory() error {
	x.Header().Set("Location", x.r.URL.EscapedPath()+"/")
	x.WriteHeader(http.StatusPermanentRedirect)
	return nil
}

// What is stored here is meant for the one who asked. No cache on the way
// keeps it, and a browser that is shown it neither guesses another type nor
// runs what is in it.
const (
	cachePolicy   = "private, no-store"
	contentPolicy = "sandbox; default-src 'none'"
	defaultType   = "application/octet-stream"
)

// describe sets the headers that tell about a file.
func (x *exchange) describe(e *efs.Entry) {
	h := x.Header()
	x.set("Etag", quoted(e.ETag))
	if e.Kind == efs.KindSymlink {
		x.describeSymlink(e)
	} else {
		x.set("Content-Type", typeOf(e))
	}
	x.set("Last-Modified", modified(e).Format(http.TimeFormat))
	x.set("Efs-Modified", modified(e).Format(time.RFC3339Nano)) // to the microsecond, which no HTTP date says
	x.set("Efs-Version", strconv.FormatUint(e.Version, 10))
	h["Accept-Ranges"] = acceptRanges
	h["Cache-Control"] = cacheControl
	h["X-Content-Type-Options"] = noSniff
	h["Content-Security-Policy"] = contentSecurity
	if e.DigestKind == efs.DigestFull {
		x.set("Repr-Digest", formatDigest(e.Digest))
	}
	if e.Mode != 0 {
		x.set("Efs-Mode", formatMode(e.Mode))
	}
	setMeta(h, e.Meta)
}

// Header values that never change are made once and shared by all answers.
var (
	acceptRanges    = []string{"bytes"}
	cacheControl    = []string{cachePolicy}
	noSniff         = []string{"nosniff"}
	contentSecurity = []string{contentPolicy}
	jsonType        = []string{"application/json"}
)

func typeOf(e *efs.Entry) string {
	if e.Type == "" {
		return defaultType
	}
	return e.Type
}

func modified(e *efs.Entry) time.Time { return time.UnixMicro(e.Modified).UTC() }

func quoted(etag string) string { return `"` + etag + `"` }

// sendSpan sends one run of a file's bytes. The status line goes out with the
// first bytes, which are not handed over before they have been authenticated:
// a file damaged at its start is told by a problem document, and one damaged
// later by an answer that breaks off.
func (x *exchange) sendSpan(f *fsys.File, status int, s span) error {
	w := &fileWriter{x: x, status: status, left: s.n}
	if err := f.WriteRange(w, s.off, s.n); err != nil {
		return readProblem(err)
	}
	return w.finish()
}

// fileWriter commits the status with the first bytes of a file, and keeps the
// last byte back until all that the file system checks has been checked, the
// trailer included. Without that byte no client takes the answer for whole.
type fileWriter struct {
	x      *exchange
	status int
	left   int64 // bytes to come
	held   [1]byte
	last   []byte // in held
}

func (w *fileWriter) Write(b []byte) (int, error) {
	if w.left -= int64(len(b)); w.left <= 0 && len(b) > 0 {
		end := len(b) - 1
		w.held[0] = b[end]
		w.last = w.held[:]
		if end == 0 {
			return len(b), nil
		}
		n, err := w.send(b[:end])
		if err != nil {
			return n, err
		}
		return len(b), nil
	}
	return w.send(b)
}

func (w *fileWriter) send(b []byte) (int, error) {
	if w.x.status == 0 {
		w.x.WriteHeader(w.status)
	}
	return w.x.Write(b)
}

func (w *fileWriter) finish() error {
	_, err := w.send(w.last) // an empty file has no last byte, and yet a status
	return err
}

// sendRanges answers a request for parts of a file (RFC 9110, 15.3.7).
func (x *exchange) sendRanges(f *fsys.File, e *efs.Entry, spans []span) error {
	h := x.Header()
	switch len(spans) {
	case 0:
		p := rangeNotSatisfiable.with("The file is shorter. Content-Range tells its size.")
		p.size = "bytes */" + strconv.FormatInt(e.Size, 10)
		return p
	case 1:
		h.Set("Content-Range", spans[0].contentRange(e.Size))
		h.Set("Content-Length", strconv.FormatInt(spans[0].n, 10))
		return x.sendSpan(f, http.StatusPartialContent, spans[0])
	}
	w := multipart.NewWriter(x)
	h.Set("Content-Type", "multipart/byteranges; boundary="+w.Boundary())
	// The first part's boundary would commit the status before the first byte
	// of the file has been authenticated, so that byte is read ahead.
	if _, err := f.ReadAt(make([]byte, 1), spans[0].off); err != nil {
		return readProblem(err)
	}
	x.WriteHeader(http.StatusPartialContent)
	for _, s := range spans {
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Type": {typeOf(e)}, "Content-Range": {s.contentRange(e.Size)}})
		if err != nil {
			return err
		}
		if err := f.WriteRange(part, s.off, s.n); err != nil {
			return readProblem(err)
		}
	}
	return w.Close()
}
