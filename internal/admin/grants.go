package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

// GrantRequest names somebody, what is to be permitted, and on what.
type GrantRequest struct {
	Holder      string `json:"holder"`       // USER of the file system in On, or USER@FS
	Permissions string `json:"permissions"`  // permissions and roles, separated by commas
	On          string `json:"on"`           // FS:/PATH, or kms:PROVIDER/KEY
	FS          string `json:"fs,omitempty"` // of On, and User of Holder: for the log
	User        string `json:"user,omitempty"`
}

// GrantResult is what was understood.
type GrantResult struct {
	Holder      string             `json:"holder"`
	Permissions access.Permissions `json:"permissions"`
	On          string             `json:"on"`
}

// ListGrantsRequest asks for grants.
type ListGrantsRequest struct {
	FS   string `json:"fs,omitempty"`   // "": of all file systems and keys; efs.ServerRealm: on keys
	User string `json:"user,omitempty"` // USER or USER@FS; "": of all
}

// GrantInfo is a grant as it is listed.
type GrantInfo struct {
	Holder      string             `json:"holder"` // USER@FS
	On          string             `json:"on"`
	Permissions access.Permissions `json:"permissions"`
	Default     bool               `json:"default,omitempty"` // nothing else was said about this user
	Since       time.Time          `json:"since"`
}

// parse reads a request, in which the holder is by default a user of the file
// system that the grant is on.
func (r GrantRequest) parse() (p access.Principal, on access.Resource, what access.Permissions, err error) {
	if on, err = access.ParseResource(r.On); err != nil {
		return p, on, what, err
	}
	if on.IsKey() {
		if p, err = access.ParsePrincipal(r.Holder, ""); err != nil {
			return p, on, what, fmt.Errorf("%w: keys belong to no file system, so write USER@FS", err)
		}
	} else if p, err = access.ParsePrincipal(r.Holder, on.FS); err != nil {
		return p, on, what, err
	}
	what, err = access.ParsePermissions(r.Permissions)
	return p, on, what, err
}

func grant(ctx context.Context, s *Server, out *stream, r GrantRequest) (any, error) {
	p, on, what, err := r.parse()
	if err != nil {
		return nil, err
	}
	already := false
	if !on.IsKey() {
		_, rights := s.node.Rights(p, on.FS)
		already = rights.May(what, on.Place())
	}
	if err := s.node.Grant(ctx, p, on, what); err != nil {
		return nil, err
	}
	if already {
		out.line(fmt.Sprintf("Note: %s had %s on %s before, perhaps by a wider grant; list-grants shows it", p, what, on))
	}
	return GrantResult{p.String(), what, on.String()}, nil
}

func revokeGrant(ctx context.Context, s *Server, _ *stream, r GrantRequest) (any, error) {
	p, on, what, err := r.parse()
	if err != nil {
		return nil, err
	}
	if err := s.node.RevokeGrant(ctx, p, on, what); err != nil {
		return nil, err
	}
	return GrantResult{p.String(), what, on.String()}, nil
}

func listGrants(ctx context.Context, s *Server, _ *stream, r ListGrantsRequest) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	realms := []string{r.FS}
	if r.FS == "" {
		realms = nil
		for _, f := range s.node.FileSystems() {
			realms = append(realms, f.Name())
		}
		realms = append(realms, efs.ServerRealm)
	}
	list := []GrantInfo{}
	for _, realm := range realms {
		d, err := s.node.Users(realm)
		if err != nil {
			return nil, err
		}
		if list, err = appendGrants(ctx, list, d, r.User); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// appendGrants appends the grants of a directory, those of users first who
// have everything because nothing else was said.
func appendGrants(ctx context.Context, list []GrantInfo, d *access.Directory, user string) ([]GrantInfo, error) {
	realm := d.FS()
	if realm != efs.ServerRealm {
		users, err := d.ListUsers(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			p := access.Principal{User: u.Name, Realm: realm}
			if !u.Explicit && (user == "" || user == u.Name || user == p.String()) {
				list = append(list, GrantInfo{p.String(), realm + ":/", access.Writer, true, u.Created})
			}
		}
	}
	for _, h := range d.Holdings(user) {
		for _, g := range h.Grants {
			on := g.On
			if realm != efs.ServerRealm {
				on = realm + ":" + on
			}
			list = append(list, GrantInfo{h.Holder.Principal().String(), on, g.Permissions, false, g.Since})
		}
	}
	return list, nil
}
