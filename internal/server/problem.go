package server

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// ProblemBase begins the type of every problem document (RFC 9457); the name
// of a problem follows it. Types are stable: a client compares the whole text.
const ProblemBase = "urn:efs:error:"

// problemKind is one line of the catalogue in docs/errors.md.
type problemKind struct {
	name   string // after ProblemBase
	status int
	title  string
}

// problem is an error that knows how it is told to the caller.
type problem struct {
	kind   *problemKind
	detail string // what to do next; never a path, a key or a credential
	retry  int    // Retry-After in seconds, 0 for none
	allow  string // Allow of a 405
	size   string // Content-Range of a 416
	cause  error  // for the log
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.kind.name + ": " + p.cause.Error()
	}
	return p.kind.name + ": " + p.detail
}

// Unwrap returns the cause, or nil.
func (p *problem) Unwrap() error { return p.cause }

// with returns a problem of this kind that tells detail.
func (k *problemKind) with(detail string) *problem { return &problem{kind: k, detail: detail} }

// from returns a problem of this kind with a cause for the log.
func (k *problemKind) from(cause error, detail string) *problem {
	return &problem{kind: k, detail: detail, cause: cause}
}

// document is the body of a problem, in the order people read it.
type document struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
}

// send writes the problem as the whole answer. The headers that described an
// answer that did not come about are taken back first.
func (p *problem) send(x *exchange) {
	h := x.Header()
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Range", "Etag", "Last-Modified",
		"Repr-Digest", "Efs-Modified", "Efs-Version", "Efs-Mode", "Efs-Kind", "Efs-Target", "Accept-Ranges", "Content-Security-Policy", "Location"} {
		h.Del(name)
	}
	deleteMeta(h)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.size != "" {
		h.Set("Content-Range", p.size)
	}
	if p.kind.status == http.StatusUnauthorized {
		// RFC 9110, 15.5.2: a 401 names a scheme. Not Basic alone, which
		// would make browsers ask for a password that does not exist.
		h.Set("WWW-Authenticate", `EFS-Session realm="efs"`)
	}
	body, err := json.Marshal(document{ProblemBase + p.kind.name, p.kind.title, p.kind.status, p.detail, "urn:efs:request:" + x.id})
	if err != nil {
		panic("server: problem document: " + err.Error()) // strings and an int: cannot fail
	}
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	x.problem = p.kind.name
	x.WriteHeader(p.kind.status)
	if x.r.Method != http.MethodHead {
		n, _ := x.ResponseWriter.Write(append(body, '\n')) // who has left does not miss it
		x.out += int64(n)
	}
}
