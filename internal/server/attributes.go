package server

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// targetHeader is EFS-Target, as net/http spells it. A store with it, and
// without a body, makes a symlink.
const targetHeader = "Efs-Target"

// putSymlink makes a symlink. What the headers say of a body must fit none.
func (x *exchange) putSymlink(t target, header []string, o fsys.PutOptions) error {
	to, err := url.PathUnescape(header[0])
	if err != nil || len(header) > 1 || fsys.CheckTarget(to) != nil {
		return badHeader.with("EFS-Target must be the percent-encoded target of a symbolic link: 1 to 4096 bytes of UTF-8 without NUL.")
	}
	if x.r.ContentLength != 0 || o.SHA256 != nil {
		return badHeader.with("A store with EFS-Target makes a symbolic link, which has no contents. Send Content-Length: 0 and no digest.")
	}
	res, err := x.fs.Symlink(x.r.Context(), t.path, to, o)
	if err != nil {
		return writeProblem(err)
	}
	x.object = res.Entry.File
	return x.confirm(t.path, &res.Entry, res.Created)
}

// describeSymlink sets the headers that a symlink has instead of those of
// contents.
func (x *exchange) describeSymlink(e *efs.Entry) {
	x.set("Efs-Kind", e.Kind.String())
	x.set(targetHeader, url.PathEscape(e.Target))
}

// describeDir sets the headers that tell about a directory, beside the way to
// it.
func (x *exchange) describeDir(e *efs.Entry) {
	x.set("Efs-Kind", e.Kind.String())
	x.set("Etag", quoted(e.ETag))
	x.set("Last-Modified", modified(e).Format(http.TimeFormat))
	x.set("Efs-Modified", modified(e).Format(time.RFC3339Nano))
	if e.Mode != 0 {
		x.set("Efs-Mode", formatMode(e.Mode))
	}
	setMeta(x.Header(), e.Meta)
}

// modeHeader reads EFS-Mode, the permission bits that a file had where it comes
// from; 0 where it is not sent.
func modeHeader(h http.Header) (uint32, error) {
	v := h["Efs-Mode"]
	if len(v) == 0 {
		return 0, nil
	}
	mode, ok := parseMode(v[0])
	if !ok || len(v) > 1 {
		return 0, badHeader.with("EFS-Mode must be permission bits in octal, such as 0644, from 0001 to 7777.")
	}
	return mode, nil
}

// parseMode reads one to five octal digits that are not all zero: no mode is
// told by saying nothing.
func parseMode(s string) (uint32, bool) {
	if len(s) > 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 8, 16)
	return uint32(n), err == nil && n > 0 && n <= efs.MaxMode
}

func formatMode(mode uint32) string { return string(appendMode(nil, mode)) }

// appendMode writes a mode as four octal digits.
func appendMode(b []byte, mode uint32) []byte {
	return append(b, '0'+byte(mode>>9&7), '0'+byte(mode>>6&7), '0'+byte(mode>>3&7), '0'+byte(mode&7))
}
