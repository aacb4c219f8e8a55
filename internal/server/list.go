package server

import (
	"mime"
	"net/http"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
)

// list answers GET and HEAD of a directory.
func (x *exchange) list(t target) error {
	q := x.query()
	lines := acceptsLines(x.r.Header)
	_, limited := q.values["limit"]
	o := fsys.ListOptions{
		Limit:     int(q.number("limit", fsys.DefaultListLimit, 1, fsys.MaxListLimit)),
		Recursive: q.flag("recursive"),
	}
	o.After, _ = q.take("after")
	if err := q.done(); err != nil {
		return err
	}
	if len(o.After) > efs.MaxPath {
		return badParameter.with("The parameter after must be a name of this directory, as the listing gives it in next.")
	}
	var err error
	if o.Scope, err = x.mayList(t.path); err != nil {
		return err
	}
	x.Header()["Vary"] = []string{"Accept"}
	entries, next, err := x.fs.List(x.r.Context(), t.path, o)
	if err != nil && o.Scope != nil {
		return wayProblem(err)
	}
	if err != nil {
		return writeProblem(err)
	}
	if o.Scope != nil {
		x.set("Efs-Narrowed", "1") // who mirrors must not take the rest for deleted
	}
	if lines {
		return x.sendLines(t, o, entries, next, limited)
	}
	reads := x.readsIn(t)
	b := append(make([]byte, 0, 64+288*len(entries)), `{"entries":[`...)
	for i := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, entries[i].Path, &entries[i].Entry, reads(entries[i].Path))
	}
	b = append(b, `],"next":`...)
	if next == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, next)
	}
	return x.sendJSON(http.StatusOK, append(b, '}', '\n'))
}

// sendLines sends a listing as one JSON document a line: the whole of it, page
// after page, unless a limit was asked for. A page that cannot be read breaks
// the answer off.
func (x *exchange) sendLines(t target, o fsys.ListOptions, entries []fsys.ListEntry, next string, limited bool) error {
	h := x.Header()
	h["Content-Type"] = linesType
	h["Cache-Control"] = cacheControl
	x.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return nil
	}
	var b []byte
	reads := x.readsIn(t)
	for {
		b = b[:0]
		for i := range entries {
			b = append(appendEntry(b, entries[i].Path, &entries[i].Entry, reads(entries[i].Path)), '\n')
		}
		if _, err := x.Write(b); err != nil {
			return err
		}
		if next == "" || limited {
			return nil
		}
		o.After = next
		var err error
		if entries, next, err = x.fs.List(x.r.Context(), t.path, o); err != nil {
			return writeProblem(err)
		}
	}
}

// readsIn tells of which entries of a directory, by their paths in it, the
// caller may read what is in them.
func (x *exchange) readsIn(t target) func(path string) bool {
	if x.rights.May(access.Read, t.path) {
		return func(string) bool { return true } // and all below
	}
	return func(path string) bool { return x.rights.May(access.Read, strings.Trim(t.path+"/"+path, "/")) }
}

var linesType = []string{"application/x-ndjson"}

// acceptsLines reports whether the client asks for NDJSON by name.
func acceptsLines(h http.Header) bool {
	for _, v := range h["Accept"] {
		for _, part := range strings.Split(v, ",") {
			t, params, err := mime.ParseMediaType(part)
			if err == nil && (t == "application/x-ndjson" || t == "application/ndjson") && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
