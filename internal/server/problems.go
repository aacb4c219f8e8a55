package server

import "net/http"

// The catalogue. docs/errors.md lists each with its remedy, and a test
// compares the two.
var catalogue []*problemKind

func kind(name string, status int, title string) *problemKind {
	k := &problemKind{name, status, title}
	catalogue = append(catalogue, k)
	return k
}

// The request itself.
var (
	badPath             = kind("bad-path", http.StatusBadRequest, "The path is malformed")
	badParameter        = kind("bad-parameter", http.StatusBadRequest, "A query parameter is unknown or malformed")
	badHeader           = kind("bad-header", http.StatusBadRequest, "A header is malformed or contradicts another")
	badJSON             = kind("bad-json", http.StatusBadRequest, "The JSON body is malformed")
	badDestination      = kind("bad-destination", http.StatusBadRequest, "The Destination header is missing or malformed")
	badCSR              = kind("bad-certificate-request", http.StatusBadRequest, "The certificate request is malformed")
	incompleteBody      = kind("incomplete-body", http.StatusBadRequest, "The body ended before its declared length")
	digestMismatch      = kind("digest-mismatch", http.StatusBadRequest, "The body does not have the digest that was sent with it")
	methodNotAllowed    = kind("method-not-allowed", http.StatusMethodNotAllowed, "This method is not allowed here")
	slowClient          = kind("slow-client", http.StatusRequestTimeout, "The body came too slowly")
	bodyTooLarge        = kind("body-too-large", http.StatusRequestEntityTooLarge, "The body is larger than allowed")
	unsupportedMedia    = kind("unsupported-media-type", http.StatusUnsupportedMediaType, "The body's type or encoding is not understood here")
	rangeNotSatisfiable = kind("range-not-satisfiable", http.StatusRequestedRangeNotSatisfiable, "No byte of the file lies in the range")
	preconditionFailed  = kind("precondition-failed", http.StatusPreconditionFailed, "A precondition of the request does not hold")
	headerTooLarge      = kind("header-too-large", http.StatusRequestHeaderFieldsTooLarge, "The metadata headers are too many or too large")
	misdirected         = kind("misdirected", http.StatusMisdirectedRequest, "This listener takes requests from its proxies only")
	tooManyRequests     = kind("too-many-requests", http.StatusTooManyRequests, "Too many requests of this kind")
	tooManyUploads      = kind("too-many-uploads", http.StatusConflict, "The user has as many uploads open as a user may have")
	uploadNotFound      = kind("upload-not-found", http.StatusNotFound, "There is no such upload")
	uploadParts         = kind("upload-parts", http.StatusConflict, "The upload does not have the parts that were named")
	tooBusy             = kind("too-busy", http.StatusServiceUnavailable, "The server has as much to do as it may take on")
	stopping            = kind("stopping", http.StatusServiceUnavailable, "The server is stopping")
	temporarilyUnavail  = kind("unavailable", http.StatusServiceUnavailable, "Something the server depends on does not answer")
	internalError       = kind("internal", http.StatusInternalServerError, "The server failed")
)

// Who is asking.
var (
	certificateRequired = kind("certificate-required", http.StatusUnauthorized, "A client certificate is required")
	certificateExpired  = kind("certificate-expired", http.StatusUnauthorized, "The client certificate has expired or is not yet valid")
	certificateUnknown  = kind("certificate-unknown", http.StatusUnauthorized, "The client certificate is not known here")
	certificateRevoked  = kind("certificate-revoked", http.StatusUnauthorized, "The client certificate has been revoked")
	credentialsRequired = kind("credentials-required", http.StatusUnauthorized, "Credentials of a session are required")
	authFailed          = kind("authentication-failed", http.StatusUnauthorized, "The signature does not open a session for this user")
	nonceRejected       = kind("nonce-rejected", http.StatusUnauthorized, "The nonce is used, expired or not for this caller")
	tokenInvalid        = kind("token-invalid", http.StatusUnauthorized, "The token is not one of this server's")
	basicInvalid        = kind("basic-invalid", http.StatusUnauthorized, "The Basic credential does not belong to the session")
	sessionBound        = kind("session-bound", http.StatusUnauthorized, "The session belongs to another client certificate")
	sessionExpired      = kind("session-expired", http.StatusUnauthorized, "The session is over")
	renewalsUsedUp      = kind("renewals-used-up", http.StatusUnauthorized, "The session cannot be renewed again")
	wrongFS             = kind("wrong-file-system", http.StatusForbidden, "The credentials are for another file system")
	neverInClear        = kind("never-in-clear", http.StatusConflict, "Nothing is stored in clear")
	keyInUse            = kind("key-in-use", http.StatusConflict, "The key wraps keys that are needed")
	unsupported         = kind("not-supported", http.StatusConflict, "The KMS does not offer this")
	forbidden           = kind("forbidden", http.StatusForbidden, "This is not permitted")
)

// Files and directories.
var (
	notFound         = kind("not-found", http.StatusNotFound, "There is nothing at this path")
	unitBorder       = kind("erasure-unit", http.StatusConflict, "The directory cannot leave or enter an erasure unit")
	conflict         = kind("conflict", http.StatusConflict, "The entry changed while the request was at work")
	exists           = kind("exists", http.StatusConflict, "There is something at this path already")
	notDirectory     = kind("not-a-directory", http.StatusConflict, "A file stands where a directory is needed")
	isDirectory      = kind("is-a-directory", http.StatusConflict, "A directory stands where a file is needed")
	isSymlink        = kind("symlink", http.StatusConflict, "A symbolic link stands where a file is needed")
	notEmpty         = kind("not-empty", http.StatusConflict, "The directory is not empty")
	intoItself       = kind("into-itself", http.StatusConflict, "A directory cannot be put into itself")
	logTruncated     = kind("log-truncated", http.StatusGone, "The change log no longer reaches back so far")
	damaged          = kind("damaged", http.StatusInternalServerError, "The stored data is damaged")
	quota            = kind("quota-exceeded", http.StatusInsufficientStorage, "The quota is used up")
	noSpace          = kind("no-space", http.StatusInsufficientStorage, "The volume is full")
	sealed           = kind("sealed", http.StatusServiceUnavailable, "The server has no keys yet")
	stopped          = kind("stopped", http.StatusServiceUnavailable, "The file system stopped after a failed write")
	auditUnavailable = kind("audit-unavailable", http.StatusServiceUnavailable, "The audit log cannot be written")
)
