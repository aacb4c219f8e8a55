package server

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
)

// remove deletes a file, an empty directory, or with recursive=true a
// directory with all below it.
func (x *exchange) remove(t target) error {
	q := x.query()
	recursive := q.flag("recursive")
	if err := q.done(); err != nil {
		return err
	}
	if err := x.may(access.Delete, t.path); err != nil {
		return err
	}
	if err := notRoot(t); err != nil {
		return err
	}
	if err := x.mustBeDir(t); err != nil {
		return err
	}
	cond, err := x.writeCond(t.path)
	if err != nil {
		return err
	}
	err = x.fs.Remove(x.r.Context(), t.path, fsys.RemoveOptions{Who: x.by(), Cond: cond, Recursive: recursive})
	if err != nil {
		return writeProblem(err)
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

func notRoot(t target) error {
	if t.path == "" {
		return forbidden.with("The root of a file system cannot be changed. Name something in it.")
	}
	return nil
}

// mustBeDir holds a path with a trailing slash to what it says: that a
// directory is meant.
func (x *exchange) mustBeDir(t target) error {
	if !t.dir {
		return nil
	}
	e, err := x.fs.Stat(x.r.Context(), t.path)
	if err != nil {
		return writeProblem(err)
	}
	x.object = e.File
	if e.Kind != efs.KindDir {
		return notDirectory.with("The path ends in a slash but names a file. Leave the slash away.")
	}
	return nil
}

// mkcol makes a directory, and what is missing above it.
func (x *exchange) mkcol(t target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	if x.r.ContentLength != 0 {
		return unsupportedMedia.with("MKCOL takes no body.")
	}
	if err := x.mayCreate(t.path); err != nil {
		return err
	}
	if t.path == "" {
		return exists.with("The root exists always.")
	}
	o := fsys.MkdirOptions{Who: x.by(), Parents: true}
	var err error
	if o.Meta, err = x.s.limits.metadata(x.r.Header); err != nil {
		return err
	}
	if o.Modified, err = modifiedHeader(x.r.Header); err != nil {
		return err
	}
	if o.Mode, err = modeHeader(x.r.Header); err != nil {
		return err
	}
	e, err := x.fs.Mkdir(x.r.Context(), t.path, o)
	if err != nil {
		return writeProblem(err)
	}
	x.object = e.File
	return x.confirm(t.path, &e, true)
}

// moveOrCopy answers MOVE and COPY (RFC 4918, 9.8 and 9.9).
func (x *exchange) moveOrCopy(t target) error {
	if err := x.query().done(); err != nil {
		return err
	}
	if err := notRoot(t); err != nil {
		return err
	}
	to, err := x.destination()
	if err != nil {
		return err
	}
	x.to = to.path
	overwrite, err := overwriteHeader(x.r.Header)
	if err != nil {
		return err
	}
	if err := x.mayMoveOrCopy(t, to); err != nil {
		return err
	}
	if err := x.mustBeDir(target{path: t.path, dir: t.dir || to.dir}); err != nil {
		return err
	}
	cond, err := x.writeCond(t.path)
	if err != nil {
		return err
	}
	var target fsys.Cond
	if target.IfMatch, err = etags(x.r.Header, "Efs-Destination-If-Match", false); err != nil {
		return err
	}
	if !x.rights.May(access.List, t.path) {
		if err := x.onlyFile(t.path, &cond); err != nil {
			return err
		}
	}
	var res fsys.PutResult
	if x.r.Method == "MOVE" {
		res, err = x.fs.Move(x.r.Context(), t.path, to.path, fsys.MoveOptions{Who: x.by(), Cond: cond, Target: target, Overwrite: overwrite})
	} else {
		res, err = x.fs.Copy(x.r.Context(), t.path, to.path, fsys.CopyOptions{Who: x.by(), Cond: cond, Target: target, Overwrite: overwrite})
	}
	if errors.Is(err, efs.ErrBadInput) {
		return intoItself.from(err, "The destination is the source itself or lies below it. Choose one outside.")
	}
	if err != nil {
		return writeProblem(err)
	}
	x.object = res.Entry.File
	return x.confirm(to.path, &res.Entry, res.Created)
}

// mayMoveOrCopy asks whether the caller may, as far as that can be told
// without looking. What is moved away is read and deleted.
func (x *exchange) mayMoveOrCopy(t, to target) error {
	need := access.Read
	if x.r.Method == "MOVE" {
		need |= access.Delete
	}
	if err := x.may(need, t.path); err != nil {
		return err
	}
	return x.mayCreate(to.path)
}

// onlyFile holds a caller who may not list to files, since the names in a
// directory would go with it: what is at path now, or nothing, is moved or
// copied.
func (x *exchange) onlyFile(path string, cond *fsys.Cond) error {
	e, err := x.fs.Stat(x.r.Context(), path)
	if err != nil {
		return writeProblem(err)
	}
	if cond.IfMatch == nil || matches(cond.IfMatch, e.ETag) {
		cond.IfMatch = []string{e.ETag}
	}
	return x.mayTree(&e, path)
}

// destination reads the Destination header: a path of this server, or a URL
// whose host is the one that the request was sent to. It may use any of the
// forms in which paths are written, but names the same file system.
func (x *exchange) destination() (target, error) {
	values := x.r.Header["Destination"]
	if len(values) != 1 {
		return target{}, badDestination.with("Send one Destination header with the path that the entry is to have, such as /data/new/name.")
	}
	u, err := url.Parse(values[0])
	if err != nil || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/") {
		return target{}, badDestination.with("Destination must be a percent-encoded path, or a URL of this server, without a query.")
	}
	if u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http" || u.Host != "" && !strings.EqualFold(u.Host, x.r.Host) {
		return target{}, badDestination.with("Destination names another server. Files are moved and copied within one file system only.")
	}
	path, err := decodedPath(u)
	if err != nil {
		return target{}, err
	}
	to, err := findTarget(path)
	switch {
	case err != nil:
		return target{}, err
	case to.route != routeData && to.route != routeObject || to.path == "":
		return target{}, badDestination.with("Destination must name a file or directory below the root of the file system.")
	case to.in(x.who.fsName) != x.fsName:
		return target{}, wrongFS.with("Destination names another file system. Read the file and store it there.")
	}
	return to, nil
}

func overwriteHeader(h http.Header) (bool, error) {
	if d := h.Get("Depth"); d != "" && !strings.EqualFold(d, "infinity") {
		return false, badHeader.with("Directories are moved and copied with all below them. Send Depth: infinity or no Depth.")
	}
	switch h.Get("Overwrite") {
	case "", "T", "t":
		return true, nil
	case "F", "f":
		return false, nil
	}
	return false, badHeader.with("Overwrite must be T or F.")
}
