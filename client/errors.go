package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// The kinds of failure that callers tell apart with errors.Is. They are the
// kinds of package efs, under which an *Error is found by its problem type.
var (
	ErrNotFound     = efs.ErrNotFound     // no such file or directory
	ErrExists       = efs.ErrExists       // something is there already
	ErrPrecondition = efs.ErrPrecondition // IfMatch or IfNoneMatch did not hold
	ErrConflict     = efs.ErrConflict     // changed meanwhile: look again and retry
	ErrNotDir       = efs.ErrNotDir       // a file stands where a directory is needed
	ErrIsDir        = efs.ErrIsDir        // a directory stands where a file is needed
	ErrSymlink      = efs.ErrSymlink      // a symbolic link stands where a file is needed
	ErrNotEmpty     = efs.ErrNotEmpty     // the directory is not empty
	ErrBadPath      = efs.ErrBadPath      // malformed path
	ErrBadInput     = efs.ErrBadInput     // malformed request
	ErrDigest       = efs.ErrDigest       // content and SHA-256 do not agree
	ErrQuota        = efs.ErrQuota        // quota exceeded
	ErrNoSpace      = efs.ErrNoSpace      // the server's volume is full
	ErrDamaged      = efs.ErrDamaged      // what is stored was tampered with or lost
	ErrUnavailable  = efs.ErrUnavailable  // the server cannot serve at present
	ErrSealed       = efs.ErrSealed       // the server waits for its starter key
	ErrLogTruncated = efs.ErrLogTruncated // changes that old are gone: list again

	// ErrDenied: the certificate, the key or the session was refused.
	ErrDenied = errors.New("access denied")
	// ErrSessionExpired: the server does not know the session (any more). It
	// is an ErrDenied too. Callers see it only if a fresh session is refused.
	ErrSessionExpired = errors.New("session expired")
	// ErrUntrusted: the server's certificate is not one to be trusted.
	ErrUntrusted = errors.New("server not trusted")
	// ErrTampered: the server asked for a signature over something else than
	// this client's login.
	ErrTampered = errors.New("handshake altered")
)

// Error is a request that the server refused: the problem document (RFC 9457)
// it answered with. errors.Is finds the kinds above in it.
type Error struct {
	Op        string // what was asked, e.g. "storing /patients/173/scan.png"
	Status    int    // HTTP status
	Type      string // the last segment of the problem's type, e.g. "not-found"; may be empty
	Title     string // short, for people
	Detail    string // what to do next, for people
	RequestID string // under which the server logged it

	retryAfter time.Duration
}

// Error tells what was asked, what was wrong and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Op)
	switch {
	case e.Detail != "" && e.Title != "" && !strings.EqualFold(e.Title, e.Detail):
		fmt.Fprintf(&b, "%s. %s", e.Title, e.Detail)
	case e.Detail != "":
		b.WriteString(e.Detail)
	case e.Title != "":
		b.WriteString(e.Title)
	case e.Status == http.StatusNotFound:
		b.WriteString("there is nothing at this path")
	case statusKinds[e.Status] != nil:
		b.WriteString(statusKinds[e.Status].Error())
	default:
		fmt.Fprintf(&b, "the server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.RequestID != "" && e.Status >= 500 {
		fmt.Fprintf(&b, " (request %s)", e.RequestID)
	}
	return b.String()
}

// Is reports whether target is the kind of this failure.
func (e *Error) Is(target error) bool {
	if target == ErrDenied {
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	if kind, known := kinds[e.Type]; known {
		return kind == target
	}
	return target == statusKinds[e.Status]
}

// needsOperator reports whether the server waits for a person, so that asking
// again is no use.
func (e *Error) needsOperator() bool { return e.Type == "sealed" || e.Type == "stopped" }

// kinds maps the problem types of docs/errors.md that callers act upon.
var kinds = map[string]error{
	"not-found":           ErrNotFound,
	"exists":              ErrExists,
	"precondition-failed": ErrPrecondition,
	"conflict":            ErrConflict,
	"not-a-directory":     ErrNotDir,
	"is-a-directory":      ErrIsDir,
	"symlink":             ErrSymlink,
	"not-empty":           ErrNotEmpty,
	"bad-path":            ErrBadPath,
	"into-itself":         ErrBadInput,
	"incomplete-body":     ErrBadInput,
	"digest-mismatch":     ErrDigest,
	"quota-exceeded":      ErrQuota,
	"no-space":            ErrNoSpace,
	"damaged":             ErrDamaged,
	"unavailable":         ErrUnavailable,
	"sealed":              ErrSealed,
	"stopped":             ErrUnavailable,
	"log-truncated":       ErrLogTruncated,
	"session-expired":     ErrSessionExpired,
}

// statusKinds is used where there is no known type: answers to HEAD have no
// body, and proxies write no problem documents.
var statusKinds = map[int]error{
	http.StatusBadRequest:          ErrBadInput,
	http.StatusNotFound:            ErrNotFound,
	http.StatusConflict:            ErrConflict,
	http.StatusPreconditionFailed:  ErrPrecondition,
	http.StatusInsufficientStorage: ErrNoSpace,
	http.StatusBadGateway:          ErrUnavailable,
	http.StatusServiceUnavailable:  ErrUnavailable,
	http.StatusGatewayTimeout:      ErrUnavailable,
}

// maxProblem bounds how much of an error's body is read, in bytes.
const maxProblem = 64 << 10

// newError reads the problem document of a failed answer and closes it.
func newError(op string, resp *http.Response) *Error {
	defer drain(resp.Body)
	e := &Error{
		Op:         op,
		Status:     resp.StatusCode,
		RequestID:  resp.Header.Get("X-Request-Id"),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After")),
	}
	var p struct{ Type, Title, Detail string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err == nil && json.Unmarshal(body, &p) == nil {
		e.Title, e.Detail = p.Title, p.Detail
		e.Type = path.Base(p.Type[strings.LastIndexByte(p.Type, ':')+1:])
		if p.Type == "" {
			e.Type = ""
		}
	}
	return e
}

// parseRetryAfter reads either form of Retry-After (RFC 9110, 10.2.3); 0 if
// there is none.
func parseRetryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// drain reads what little is left of a body, so that the connection can be
// used again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxProblem) // only to reuse the connection; a failure costs that
	_ = body.Close()
}
