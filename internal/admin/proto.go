// Package admin is how efsctl talks to a running server: requests in JSON over
// HTTP over a Unix socket in the server's root, answered by a stream of
// events, one JSON object a line.
//
// Only the server opens keys and indexes, so that nothing changes them behind
// its back. Who may: the user the server runs as, and root; the socket's mode
// says so, and the server asks the kernel who is at the other end.
package admin

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
)

// Event is one line of an answer. Exactly one field is set. A stream ends with
// Result or Error; one that ends otherwise was cut.
type Event struct {
	Line     *string         `json:"line,omitempty"`     // something that just happened, for people
	Secret   *string         `json:"secret,omitempty"`   // number of something to be fetched and shown
	Progress *Progress       `json:"progress,omitempty"` //
	Result   json.RawMessage `json:"result,omitempty"`   //
	Error    *Failure        `json:"error,omitempty"`    //
}

// Progress tells how far a long operation has come.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"` // 0: not known
}

// Failure is an error that crossed the socket. Kind survives, so that
// errors.Is works on both sides.
type Failure struct {
	Kind    string `json:"kind,omitempty"`
	Message string `json:"message"`
}

func (f *Failure) Error() string { return f.Message }

// Unwrap returns the kind of failure as one of the errors of package efs.
func (f *Failure) Unwrap() error { return kinds[f.Kind] }

var kinds = map[string]error{
	"not-found":    efs.ErrNotFound,
	"exists":       efs.ErrExists,
	"bad-input":    efs.ErrBadInput,
	"sealed":       efs.ErrSealed,
	"wrong-key":    efs.ErrWrongKey,
	"rolled-back":  efs.ErrRolledBack,
	"damaged":      efs.ErrDamaged,
	"no-space":     efs.ErrNoSpace,
	"stopped":      efs.ErrStopped,
	"unavailable":  efs.ErrUnavailable,
	"refused":      efs.ErrRefused,
	"conflict":     efs.ErrConflict,
	"precondition": efs.ErrPrecondition,
	"unsupported":  efs.ErrUnsupported,
}

// failure turns an error into what crosses the socket.
func failure(err error) *Failure {
	f := &Failure{Message: err.Error()}
	for kind, target := range kinds {
		if errors.Is(err, target) {
			f.Kind = kind
		}
	}
	return f
}

// The operations, each a POST to /v1/OPERATION with its request as the body.
const (
	opStatus     = "status"
	opInit       = "init"
	opUnseal     = "unseal"
	opCreateFS   = "create-fs"
	opDeleteFS   = "delete-fs"
	opListFS     = "list-fs"
	opCreateUser = "create-user"
	opListUsers  = "list-users"
	opDeleteUser = "delete-user"
	opRevoke     = "revoke"
	opAddKey     = "add-key"
	opRemoveKey  = "remove-key"
	opFsck       = "fsck"
	opResolve    = "resolve"

	opForget     = "forget"
	opReceipts   = "receipts"
	opReceiptKey = "receipt-key"

	opRotate      = "rotate"
	opRotateKMS   = "rotate-kms"
	opEpochs      = "epochs"
	opAuditShow   = "audit-show"
	opAuditVerify = "audit-verify"
	opAuditHead   = "audit-head"
	opAuditKey    = "audit-take-key"

	opRotateStarter = "rotate-starter-key"
	opRotateJWT     = "rotate-jwt"
	opRotateCA      = "rotate-ca"
	opBackupKeys    = "backup-keys"
	opRestoreKeys   = "restore-keys"
	opKeyCopies     = "key-copies"
	opBackup        = "backup"
	opListBackups   = "list-backups"
	opRestore       = "restore"
	opDrill         = "drill"
	opRebuildIndex  = "rebuild-index"

	opGrant       = "grant"
	opRevokeGrant = "revoke-grant"
	opListGrants  = "list-grants"
)

// InitRequest says in what form the starter key of a new root is shown.
type InitRequest struct {
	node.StarterForm
	From string `json:"from,omitempty"` // a backup of keys, as the server sees it, to begin with
}

// What an UnsealRequest hands over.
const (
	AsKey        = "key"        // the starter key in base64
	AsPassphrase = "passphrase" // where the root was initialised with one
	AsShare      = "share"      // one of those that init printed
)

// UnsealRequest hands the starter key to a sealed server, or one share of it.
type UnsealRequest struct {
	Secret string `json:"secret,omitempty"` // number of what was handed over
	As     string `json:"as,omitempty"`
	Reset  bool   `json:"reset,omitempty"` // forget the shares given so far
}

// UnsealResult tells how many shares were given and how many are needed; 0 of
// 0 where no shares are.
type UnsealResult struct {
	Have int `json:"have"`
	Need int `json:"need"`
}

// RotateStarterRequest asks for another starter key.
type RotateStarterRequest struct {
	node.StarterForm
	Key        bool   `json:"key,omitempty"`        // a key in place of a passphrase
	Passphrase string `json:"passphrase,omitempty"` // number of one that was handed over, in place of a key
}

// RotateStarterResult tells which starter key of the root is in force.
type RotateStarterResult struct {
	Number uint32 `json:"number"` // from 1
}

// FSRequest names a file system.
type FSRequest struct {
	FS string `json:"fs"`
}

// UserRequest names a user of a file system, or of efs.ServerRealm.
type UserRequest struct {
	FS   string `json:"fs"`
	User string `json:"user"`
}

// CreateUserRequest asks for a user with a public key and a client
// certificate; with efs.ServerRealm for FS, an administrator of the server.
type CreateUserRequest struct {
	FS   string `json:"fs"`
	User string `json:"user"`
	Key  string `json:"key"`           // OpenPGP, OpenSSH or PEM public key
	CSR  string `json:"csr,omitempty"` // PEM; "": the server makes the TLS key

	NoGrants bool `json:"no_grants,omitempty"` // may do nothing until something is granted
}

// CreateUserResult is what a new user needs to connect.
type CreateUserResult struct {
	Hashes   Hashes    `json:"hashes"`
	Bundle   string    `json:"bundle"`    // PEM: certificate, key unless a CSR was given, chain
	ServerCA string    `json:"server_ca"` // PEM: to trust the server
	NotAfter time.Time `json:"not_after"` // of the certificate
}

// Hashes are digests of a public key in hex, for checking it out of band.
type Hashes struct {
	SHA256 string `json:"sha256"`
	SHA1   string `json:"sha1"`
	MD5    string `json:"md5"`
}

// KeyRequest adds a public key to a user, or removes the one with a
// fingerprint as list-users shows it.
type KeyRequest struct {
	FS          string `json:"fs"`
	User        string `json:"user"`
	Key         string `json:"key,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

// FsckRequest asks for a check of a file system.
type FsckRequest struct {
	FS     string `json:"fs"`
	Deep   bool   `json:"deep"`   // read and verify every content
	Repair bool   `json:"repair"` // put orphans into quarantine, mend what can be computed
}

// ResolveRequest turns a logged id into paths.
type ResolveRequest struct {
	ID efs.ID `json:"id"`
	FS string `json:"fs,omitempty"` // "": search all
}

// ResolveResult is where an id was found.
type ResolveResult struct {
	FS   string `json:"fs"`
	Path string `json:"path"`
}
