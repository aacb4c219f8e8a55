package server

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// The routes of uploads in parts.
const (
	routeUploads        route = "uploads"         // POST /api/v1/buckets/FS/uploads
	routeUpload         route = "upload"          // GET, DELETE …/ID
	routeUploadPart     route = "upload-part"     // PUT …/ID/parts/N
	routeUploadComplete route = "upload-complete" // POST …/ID/complete
)

func init() {
	routeOps[routeUploads] = map[string]string{http.MethodPost: "upload.begin"}
	routeOps[routeUpload] = map[string]string{http.MethodGet: "upload.read", http.MethodDelete: "upload.abort"}
	routeOps[routeUploadPart] = map[string]string{http.MethodPut: "upload.part"}
	routeOps[routeUploadComplete] = map[string]string{http.MethodPost: "file.store"}
}

// uploadTarget finds what a path below …/uploads names.
func uploadTarget(t target, part []string) target {
	switch {
	case len(part) == 0:
		t.route = routeUploads
	case len(part) == 1 && part[0] != "":
		t.route, t.name = routeUpload, part[0]
	case len(part) == 2 && part[1] == "complete":
		t.route, t.name = routeUploadComplete, part[0]
	case len(part) == 3 && part[1] == "parts":
		t.route, t.name, t.action = routeUploadPart, part[0], part[2]
	}
	return t
}

// uploadBodyBytes bounds what is said about an upload: a thousand parts with
// their digests.
const uploadBodyBytes = 256 << 10

// uploadDoc is the request that begins an upload.
type uploadDoc struct {
	Path     string            `json:"path"`
	Type     string            `json:"type"`
	Meta     map[string]string `json:"meta"`
	Mode     string            `json:"mode"`
	Modified time.Time         `json:"modified"`
}

// uploadAnswer describes an upload.
type uploadAnswer struct {
	Upload   efs.ID       `json:"upload"`
	Path     string       `json:"path"`
	Expires  time.Time    `json:"expires"`
	MaxParts int          `json:"max_parts"`
	Parts    []partAnswer `json:"parts"`
}

type partAnswer struct {
	Part   int    `json:"part"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func answerPart(p fsys.UploadPart) partAnswer {
	return partAnswer{p.Number, p.Size, hex.EncodeToString(p.SHA256)}
}

func answerUpload(u *fsys.Upload) uploadAnswer {
	a := uploadAnswer{Upload: u.ID, Path: "/" + u.Path, Expires: u.Expires.UTC(), MaxParts: fsys.MaxParts, Parts: []partAnswer{}}
	for _, p := range u.Parts {
		a.Parts = append(a.Parts, answerPart(p))
	}
	return a
}

// beginUpload begins to store a file in parts.
func (x *exchange) beginUpload(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	var doc uploadDoc
	if err := x.readJSON(&doc, uploadBodyBytes, "application/json"); err != nil {
		return err
	}
	path, dir, err := checkPath(strings.TrimPrefix(doc.Path, "/"))
	if err != nil {
		return err
	}
	if dir {
		return isDirectory.with("path must name a file: without a slash at its end.")
	}
	if err := x.mayCreate(path); err != nil {
		return err
	}
	x.target.path = path // for the audit log
	o := fsys.UploadOptions{Who: x.by(), Meta: doc.Meta, Type: doc.Type, Modified: doc.Modified}
	if err := x.checkUpload(&doc, &o); err != nil {
		return err
	}
	if o.Cond, err = x.writeCond(path); err != nil {
		return err
	}
	u, err := x.fs.BeginUpload(x.r.Context(), path, o)
	if err != nil {
		return uploadProblem(err)
	}
	return x.created(x.r.URL.EscapedPath()+"/"+u.ID.String(), answerUpload(u))
}

// checkUpload judges what is to be kept with the file.
func (x *exchange) checkUpload(doc *uploadDoc, o *fsys.UploadOptions) error {
	if !validType(doc.Type) {
		return badJSON.with("type must be a content type of at most 255 printable ASCII characters.")
	}
	if !doc.Modified.IsZero() && !validTime(doc.Modified) {
		return badJSON.with("modified must be a time such as 2026-01-31T12:00:00Z.")
	}
	if doc.Mode != "" {
		mode, ok := parseMode(doc.Mode)
		if !ok {
			return badJSON.with(`mode must be permission bits in octal, such as "0644", from 0001 to 7777.`)
		}
		o.Mode = mode
	}
	return x.s.limits.checkMeta(doc.Meta)
}

// ownUpload finds the upload that the path names, which only who began it knows
// of, if the caller may still store at its path.
func (x *exchange) ownUpload(t target, find func(efs.ID) (*fsys.Upload, error)) (*fsys.Upload, error) {
	if err := x.noQuery(); err != nil {
		return nil, err
	}
	id, err := efs.ParseID(t.name)
	if err != nil || x.fs == nil {
		return nil, uploadProblem(efs.ErrNotFound)
	}
	u, err := find(id)
	if err != nil {
		return nil, uploadProblem(err)
	}
	x.target.path = u.Path // for the audit log
	return u, x.mayCreate(u.Path)
}

// findUpload is ownUpload without its parts.
func (x *exchange) findUpload(t target) (*fsys.Upload, error) {
	return x.ownUpload(t, func(id efs.ID) (*fsys.Upload, error) { return x.fs.FindUpload(x.r.Context(), id, x.by()) })
}

// getUpload tells which parts of an upload are there.
func (x *exchange) getUpload(t target) error {
	u, err := x.ownUpload(t, func(id efs.ID) (*fsys.Upload, error) { return x.fs.OpenUpload(x.r.Context(), id, x.by()) })
	if err != nil {
		return err
	}
	return x.sendValue(http.StatusOK, answerUpload(u))
}

// putPart stores a part. The answer confirms that it is durable.
func (x *exchange) putPart(t target) error {
	u, err := x.findUpload(t)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(t.action)
	if err != nil || n < 1 || n > fsys.MaxParts || strconv.Itoa(n) != t.action {
		return badPath.with("Parts are numbered from 1 to " + strconv.Itoa(fsys.MaxParts) + ".")
	}
	o, err := x.bodyOptions()
	if err != nil {
		return err
	}
	leave, err := x.enterUpload()
	if err != nil {
		return err
	}
	defer leave()
	b := x.newBody(x.s.tuned.body.Load())
	p, err := x.fs.PutPart(x.r.Context(), u.ID, n, b, fsys.PartOptions{Who: x.by(), Size: o.Size, SHA256: o.SHA256})
	if err != nil {
		if b.err != nil {
			return b.err
		}
		b.drain()
		return uploadProblem(err)
	}
	return x.sendValue(http.StatusOK, answerPart(p))
}

// completeDoc is the request that completes an upload.
type completeDoc struct {
	Parts []struct {
		Part   int    `json:"part"`
		SHA256 string `json:"sha256"`
	} `json:"parts"`
	SHA256 string `json:"sha256"`
}

// completeUpload makes the file of its parts, and answers as a store does.
func (x *exchange) completeUpload(t target) error {
	u, err := x.findUpload(t)
	if err != nil {
		return err
	}
	var doc completeDoc
	if err := x.readJSON(&doc, uploadBodyBytes, "application/json"); err != nil {
		return err
	}
	o := fsys.CompleteOptions{Who: x.by()}
	if err := doc.options(&o); err != nil {
		return err
	}
	if o.Cond, err = x.writeCond(u.Path); err != nil {
		return err
	}
	x.watchPeer() // all of it may have to be read
	defer x.endWithWelcome()()
	res, err := x.fs.CompleteUpload(x.r.Context(), u.ID, o)
	if err != nil {
		return uploadProblem(err)
	}
	x.object = res.Entry.File
	return x.confirm(u.Path, &res.Entry, res.Created)
}

func (d *completeDoc) options(o *fsys.CompleteOptions) error {
	digest := func(s string) ([]byte, error) {
		sum, err := hex.DecodeString(s)
		if err != nil || len(sum) != 32 {
			return nil, badJSON.with("sha256 must be 64 hexadecimal digits.")
		}
		return sum, nil
	}
	var err error
	if d.SHA256 != "" {
		if o.SHA256, err = digest(d.SHA256); err != nil {
			return err
		}
	}
	for _, p := range d.Parts {
		sum, err := digest(p.SHA256)
		if err != nil {
			return err
		}
		o.Parts = append(o.Parts, fsys.UploadPart{Number: p.Part, SHA256: sum})
	}
	return nil
}

// abortUpload drops an upload with its parts.
func (x *exchange) abortUpload(t target) error {
	u, err := x.findUpload(t)
	if err != nil {
		return err
	}
	if err := x.fs.AbortUpload(x.r.Context(), u.ID, x.by()); err != nil {
		return uploadProblem(err)
	}
	return x.noContent()
}

// uploadProblem is writeProblem for requests about uploads in parts.
func uploadProblem(err error) error {
	switch {
	case errors.Is(err, fsys.ErrTooMany):
		return tooManyUploads.from(err, "Complete or abort an upload, or wait: one that nothing comes for vanishes after a day.")
	case errors.Is(err, fsys.ErrParts):
		return uploadParts.from(err, "GET the upload to see which parts are there, send what is missing or differs, and complete it with all of them in order.")
	case errors.Is(err, efs.ErrNotFound), errors.Is(err, efs.ErrForgotten):
		return uploadNotFound.from(err, "It was completed or aborted, or nothing came for a day, or another user began it. Begin it anew.")
	}
	return writeProblem(err)
}
