package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// put stores the body as a file: created (201) or replaced (200). The answer
// is the confirmation that the file is durable.
func (x *exchange) put(t target) error {
	if t.dir {
		return isDirectory.with("A path that ends in a slash names a directory. Give the file a name, or make the directory with MKCOL.")
	}
	if err := x.query().done(); err != nil {
		return err
	}
	if err := x.mayCreate(t.path); err != nil {
		return err
	}
	o, err := x.putOptions(t)
	if err != nil {
		return err
	}
	if h, link := x.r.Header[targetHeader]; link {
		return x.putSymlink(t, h, o)
	}
	leave, err := x.enterUpload()
	if err != nil {
		return err
	}
	defer leave()
	b := x.newBody(x.s.tuned.body.Load())
	res, err := x.fs.Put(x.r.Context(), t.path, b, o)
	if err != nil {
		if b.err != nil {
			return b.err
		}
		b.drain()
		return writeProblem(err)
	}
	x.object = res.Entry.File
	return x.confirm(t.path, &res.Entry, res.Created)
}

// putOptions reads what the headers say about the body.
func (x *exchange) putOptions(t target) (o fsys.PutOptions, err error) {
	if o, err = x.bodyOptions(); err != nil {
		return o, err
	}
	h := x.r.Header
	if o.Type, err = contentType(h); err != nil {
		return o, err
	}
	if o.Meta, err = x.s.limits.metadata(h); err != nil {
		return o, err
	}
	if o.Modified, err = modifiedHeader(h); err != nil {
		return o, err
	}
	if o.Mode, err = modeHeader(h); err != nil {
		return o, err
	}
	o.Cond, err = x.writeCond(t.path)
	return o, err
}

// bodyOptions reads what the headers say about the bytes of the body alone.
func (x *exchange) bodyOptions() (o fsys.PutOptions, err error) {
	h := x.r.Header
	if h.Get("Content-Range") != "" {
		return o, badHeader.with("Content-Range is not supported with PUT and POST. Send the whole file.")
	}
	if enc := h.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return o, unsupportedMedia.with("Send the body without Content-Encoding. EFS compresses by itself where its policy says so.")
	}
	if declaredTooLarge(x.r, x.s.tuned.body.Load()) {
		return o, bodyTooLarge.with("The server takes no larger bodies. Split the file or ask the operator to raise limits.body.")
	}
	o.Who, o.Size = x.by(), x.r.ContentLength
	o.SHA256, err = bodyDigest(h)
	return o, err
}

// writeCond reads the preconditions of a request that changes the entry at
// path. The file system judges them against the entry it replaces.
func (x *exchange) writeCond(path string) (c fsys.Cond, err error) {
	h := x.r.Header
	if c.IfMatch, err = etags(h, "If-Match", false); err != nil {
		return c, err
	}
	if c.IfNoneMatch, err = etags(h, "If-None-Match", true); err != nil {
		return c, err
	}
	since, ok := httpDate(h, "If-Unmodified-Since")
	if !ok || c.IfMatch != nil {
		return c, nil // RFC 9110, 13.2.2: If-Match counts instead
	}
	e, err := x.fs.Stat(x.r.Context(), path)
	if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrNotDir) {
		return c, nil // nothing that could have been modified
	}
	if err != nil {
		return c, writeProblem(err)
	}
	if modified(&e).Truncate(time.Second).After(since) {
		return c, preconditionFailed.with("The file has been modified since. Read it again before deciding what to do.")
	}
	c.IfMatch = []string{e.ETag} // whoever changes it between now and the commit wins
	return c, nil
}

// enterUpload takes a place among the uploads under way. Small bodies need
// none. It does not wait: a client that is told to come back keeps its body.
func (x *exchange) enterUpload() (leave func(), err error) {
	if n := x.r.ContentLength; n >= 0 && n <= SmallUpload {
		return func() {}, nil
	}
	user := userKey{x.who.fsName, x.who.user}
	if !x.s.uploads.enter() {
		return nil, &problem{kind: tooBusy, retry: 1, detail: "Too many uploads are under way. Try again in a moment."}
	}
	if !x.s.places.take(user, x.maxUploads()) {
		x.s.uploads.leave()
		return nil, &problem{kind: tooManyRequests, retry: 1, detail: "The user has as many large uploads under way as one user may have. Wait for one to end."}
	}
	return func() { x.s.places.leave(user); x.s.uploads.leave() }, nil
}

// confirm answers a request that left an entry at path.
func (x *exchange) confirm(path string, e *efs.Entry, created bool) error {
	h := x.Header()
	x.set("Etag", quoted(e.ETag))
	h["Content-Type"] = jsonType
	h["Cache-Control"] = cacheControl
	if e.DigestKind == efs.DigestFull {
		x.set("Repr-Digest", formatDigest(e.Digest))
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return x.sendJSON(status, appendStored(nil, path, e))
}
