package access

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// Permissions is a set of things that somebody may do.
type Permissions uint16

// The permissions. Those on paths hold for a path with all below it; Audit and
// Manage hold for a file system as a whole; those on keys for one master key.
// Grants are stored as these bits: new ones are added at the end.
const (
	Read   Permissions = 1 << iota // contents and metadata of files
	Write                          // store, replace, patch, make directories
	List                           // names below a directory, and the change feed
	Delete                         //
	Audit                          // read the audit log
	Manage                         // policy, users and grants
	KMSUse                         // seal file systems with a key
	KMSRotate
	KMSAdmin // change, disable and delete a key, with the two above
)

// The sets that are written as one word.
const (
	Reader  = Read | List
	Writer  = Read | Write | List | Delete
	Auditor = List | Audit
	Admin   = Writer | Audit | Manage
)

const (
	onPaths  = Writer
	onFS     = Audit | Manage
	onKeys   = KMSUse | KMSRotate | KMSAdmin
	anything = onPaths | onFS | onKeys
)

var permissionNames = []struct {
	name string
	p    Permissions
}{
	{"read", Read}, {"write", Write}, {"list", List}, {"delete", Delete}, {"audit", Audit}, {"manage", Manage},
	{"kms:use", KMSUse}, {"kms:rotate", KMSRotate}, {"kms:admin", KMSAdmin},
}

var roleNames = map[string]Permissions{"reader": Reader, "writer": Writer, "auditor": Auditor, "admin": Admin}

// PermissionWords returns every word that ParsePermissions knows, for help and
// completion.
func PermissionWords() []string {
	words := []string{}
	for _, n := range permissionNames {
		words = append(words, n.name)
	}
	return append(words, "reader", "writer", "auditor", "admin")
}

// ParsePermissions reads permissions and roles separated by commas. Words it
// does not know are efs.ErrBadInput.
func ParsePermissions(text string) (set Permissions, err error) {
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		i := slices.IndexFunc(permissionNames, func(n struct {
			name string
			p    Permissions
		}) bool {
			return n.name == word
		})
		switch role, ok := roleNames[word]; {
		case i >= 0:
			set |= permissionNames[i].p
		case ok:
			set |= role
		default:
			return 0, fmt.Errorf("permission %q: use some of %s, separated by commas: %w", word, strings.Join(PermissionWords(), " "), efs.ErrBadInput)
		}
	}
	return set, nil
}

// String returns the permissions by name, separated by commas.
func (p Permissions) String() string { return strings.Join(p.Names(), ",") }

// Names returns the permissions by name.
func (p Permissions) Names() []string {
	names := []string{}
	for _, n := range permissionNames {
		if p&n.p != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// MarshalJSON writes a list of names.
func (p Permissions) MarshalJSON() ([]byte, error) {
	return []byte(`["` + strings.Join(p.Names(), `","`) + `"]`), nil
}

// UnmarshalJSON reads a list of names, of permissions or roles.
func (p *Permissions) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	*p = 0
	if len(names) == 0 {
		return nil
	}
	set, err := ParsePermissions(strings.Join(names, ","))
	*p = set
	return err
}

// Principal is somebody who may hold grants: a user of a file system, or an
// administrator of the server, whose realm is efs.ServerRealm.
type Principal struct{ User, Realm string }

// String returns USER@REALM.
func (p Principal) String() string { return p.User + "@" + p.Realm }

// ParsePrincipal reads USER@FS, or USER alone as a user of fs. efs.ErrBadInput.
func ParsePrincipal(text, fs string) (Principal, error) {
	user, realm, named := strings.Cut(text, "@")
	if !named {
		realm = fs
	}
	if !efs.ValidUserName(user) || !efs.ValidRealm(realm) {
		return Principal{}, fmt.Errorf("user %q: write USER, or USER@FS for a user of another file system: %w", text, efs.ErrBadInput)
	}
	return Principal{user, realm}, nil
}

// Resource is what a grant is on: a path of a file system, or a master key.
type Resource struct {
	FS       string // the file system; "" for a key
	Path     string // as it was written, beginning with a slash
	Provider string // of the key
	Key      string
}

// IsKey reports whether a master key is meant.
func (r Resource) IsKey() bool { return r.FS == "" }

// String returns the form that ParseResource reads.
func (r Resource) String() string {
	if r.IsKey() {
		return r.on()
	}
	return r.FS + ":" + r.Path
}

// Place returns the path without slashes around it, as Rights takes it.
func (r Resource) Place() string { return mustCanonical(r.Path) }

// Note says for a log who may do what, or no longer may: without the path, which
// is no matter for those who read logs.
func Note(p Principal, on Resource, what Permissions) string {
	if on.IsKey() {
		return what.String() + " on " + on.String() + " of " + p.String()
	}
	return what.String() + " of " + p.String()
}

// on is how a grant's record names what it is on.
func (r Resource) on() string {
	if r.IsKey() {
		return keyPrefix + r.Provider + "/" + r.Key
	}
	return r.Path
}

const keyPrefix = "kms:"

// ParseResource reads FS:/PATH, FS alone for all of it, kms:KEY for a key of
// the local KMS, or kms:PROVIDER/KEY. efs.ErrBadInput.
func ParseResource(text string) (Resource, error) {
	bad := func(why string) (Resource, error) {
		return Resource{}, fmt.Errorf("%q %s; write FS:/PATH, or kms:KEY or kms:PROVIDER/KEY: %w", text, why, efs.ErrBadInput)
	}
	// A file system may be called kms: its paths begin with a slash, and no key.
	if key, ok := strings.CutPrefix(text, keyPrefix); ok && !strings.HasPrefix(key, "/") {
		provider, id, named := strings.Cut(key, "/")
		if !named {
			provider, id = localProvider, key
		}
		if provider == "" || id == "" || strings.ContainsAny(key, "\n\r\x00") {
			return bad("names no key")
		}
		return Resource{Provider: provider, Key: id}, nil
	}
	fs, path, _ := strings.Cut(text, ":")
	if path == "" {
		path = "/"
	}
	switch {
	case !efs.ValidFSName(fs):
		return bad("names no file system")
	case path[0] != '/':
		return bad("has a path that does not begin with a slash")
	case len(path) > efs.MaxPath+2:
		return bad("has a path that is too long")
	}
	if _, err := canonical(path); err != nil {
		return bad("has a path with an empty, '.' or '..' segment, or one that is not UTF-8")
	}
	return Resource{FS: fs, Path: path}, nil
}

// localProvider is the KMS that a key is of where none is named.
const localProvider = "local"
