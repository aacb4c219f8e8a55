package server

import (
	"crypto"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/userkey"
)

// userView is a user as the API shows it.
type userView struct {
	Name    string     `json:"name"`
	State   string     `json:"state"` // active or revoked
	Created time.Time  `json:"created"`
	Keys    []keyPrint `json:"keys"`
	Expires *time.Time `json:"certificate_expires,omitempty"` // the newest certificate
}

type keyPrint struct {
	Kind        string `json:"kind"`
	Fingerprint string `json:"fingerprint"`
}

func viewUser(u *access.User) userView {
	v := userView{Name: u.Name, State: "active", Created: u.Created.UTC(), Keys: []keyPrint{}}
	if u.Revoked != nil {
		v.State = "revoked"
	}
	for _, k := range u.Keys {
		v.Keys = append(v.Keys, keyPrint{string(k.Kind), k.Fingerprint})
	}
	for _, c := range u.Certificates {
		if end := c.NotAfter.UTC(); c.Revoked == nil && (v.Expires == nil || end.After(*v.Expires)) {
			v.Expires = &end
		}
	}
	return v
}

// listUsers answers GET /api/v1/buckets/B/users.
func (x *exchange) listUsers(t target) error {
	q := x.query()
	p := q.page()
	if err := q.done(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	users, err := f.Users.ListUsers(x.r.Context())
	if err != nil {
		return writeProblem(err)
	}
	views := []userView{}
	for _, u := range users {
		views = append(views, viewUser(u))
	}
	part, next := cut(p, views, func(v *userView) string { return v.Name })
	return x.sendValue(http.StatusOK, struct {
		Users []userView `json:"users"`
		Next  *string    `json:"next"`
	}{part, next})
}

// createUser answers POST /api/v1/buckets/B/users. The certificate is for the
// key of a certificate request, so that no private key travels.
func (x *exchange) createUser(t target) error {
	var in struct {
		Name     string `json:"name"`
		Key      string `json:"key"` // public: OpenPGP, OpenSSH or PEM
		CSR      string `json:"csr"` // PEM
		NoGrants bool   `json:"no_grants"`
	}
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	if err := x.readAPI(&in); err != nil {
		return err
	}
	x.note = "about " + in.Name
	key, err := userkey.ParsePublic([]byte(in.Key))
	if err != nil {
		return badJSON.from(err, "key must be one public key: OpenPGP (armored), OpenSSH, or PEM, with Ed25519.")
	}
	var tlsKey crypto.PublicKey
	if tlsKey, err = pki.ParseCSR([]byte(in.CSR)); err != nil {
		return badCSR.from(err, "csr must be one PEM block CERTIFICATE REQUEST for the key that the user will connect with: openssl req -new -newkey ed25519 -nodes -keyout user.key -subj /CN=user.")
	}
	create := f.Users.CreateUser
	if in.NoGrants {
		create = f.Users.CreateUserWithoutGrants
	}
	issued, err := create(x.r.Context(), in.Name, key, tlsKey)
	switch {
	case errors.Is(err, efs.ErrBadInput):
		return badJSON.from(err, "name must be letters, digits, '.', '_' and '-', at most 63 of them; key must be usable for signatures.")
	case errors.Is(err, efs.ErrExists):
		return exists.from(err, "There is a user of this name.")
	case err != nil:
		return writeProblem(err)
	}
	u, err := f.Users.GetUser(x.r.Context(), in.Name)
	if err != nil {
		return writeProblem(err)
	}
	serverCA, err := x.s.node.ServerCA()
	if err != nil {
		return writeProblem(err)
	}
	return x.created(objectsPrefix+t.fs+"/users/"+in.Name, struct {
		userView
		Certificate string `json:"certificate"` // PEM, with the authority
		ServerCA    string `json:"server_ca"`   // PEM: to trust the server
	}{viewUser(u), string(issued.Bundle), string(serverCA)})
}

// getUser answers GET /api/v1/buckets/B/users/U.
func (x *exchange) getUser(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	u, err := f.Users.GetUser(x.r.Context(), t.name)
	if err != nil {
		return writeProblem(err)
	}
	return x.sendValue(http.StatusOK, viewUser(u))
}

// deleteUser answers DELETE /api/v1/buckets/B/users/U: the user is out at
// once; files stay.
func (x *exchange) deleteUser(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	if _, err := x.managedFS(t.fs); err != nil {
		return err
	}
	if err := x.s.node.DeleteUser(x.r.Context(), t.fs, t.name); err != nil {
		return writeProblem(err)
	}
	return x.noContent()
}

// grantBody names a grant: to whom, what, and on which path of the bucket.
type grantBody struct {
	User        string             `json:"user"` // USER, or USER@FS of another file system
	Permissions access.Permissions `json:"permissions"`
	Path        string             `json:"path"`
}

// grantView is a grant as the API shows it.
type grantView struct {
	User        string             `json:"user"` // USER@FS
	Permissions access.Permissions `json:"permissions"`
	Path        string             `json:"path"`
	Since       time.Time          `json:"since"`
}

// listGrants answers GET /api/v1/buckets/B/grants.
func (x *exchange) listGrants(t target) error {
	q := x.query()
	user, _ := q.take("user")
	if err := q.done(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	return x.sendValue(http.StatusOK, map[string]any{"grants": viewGrants(f, user)})
}

// viewGrants are the grants of a user, or of all (""), by user and path.
func viewGrants(f *node.FileSystem, user string) []grantView {
	views := []grantView{}
	for _, h := range f.Users.Holdings(user) {
		for _, g := range h.Grants {
			views = append(views, grantView{h.Holder.Principal().String(), g.Permissions, g.On, g.Since.UTC()})
		}
	}
	return views
}

// grant answers POST /api/v1/buckets/B/grants.
func (x *exchange) grant(t target) error { return x.changeGrant(t, false) }

// revokeGrant answers DELETE /api/v1/buckets/B/grants, of what the body names.
func (x *exchange) revokeGrant(t target) error { return x.changeGrant(t, true) }

func (x *exchange) changeGrant(t target, away bool) error {
	var in grantBody
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	if err := x.readAPI(&in); err != nil {
		return err
	}
	who, err := access.ParsePrincipal(in.User, t.fs)
	if err != nil {
		return badJSON.from(err, "user must be USER, or USER@FS for a user of another bucket.")
	}
	on, err := access.ParseResource(t.fs + ":" + in.Path)
	if err != nil || !strings.HasPrefix(in.Path, "/") || on.FS != t.fs { // never a key, nor all by leaving it away
		return badJSON.from(err, "path must begin with a slash; / is all of the bucket.")
	}
	x.note = access.Note(who, on, in.Permissions)
	x.place, _ = f.SealLabel(x.r.Context(), on.Place()) // without the keys there is none
	change := x.s.node.Grant
	if away {
		change = x.s.node.RevokeGrant
	}
	switch err := change(x.r.Context(), who, on, in.Permissions); {
	case errors.Is(err, efs.ErrBadInput):
		return badJSON.from(err, reason(err, efs.ErrBadInput))
	case errors.Is(err, efs.ErrRefused):
		return conflict.from(err, reason(err, efs.ErrRefused))
	case errors.Is(err, efs.ErrNotFound) && away:
		return notFound.from(err, "There is no such grant, or no such user. GET …/grants shows what there is.")
	case errors.Is(err, efs.ErrNotFound):
		return badJSON.from(err, "There is no such user.")
	case err != nil:
		return writeProblem(err)
	}
	if away {
		return x.noContent()
	}
	return x.sendValue(http.StatusOK, map[string]any{"grants": viewGrants(f, who.User)})
}
