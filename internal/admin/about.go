package admin

import (
	"encoding/json"
	"strings"

	"github.com/efs-project/efs/internal/access"
)

// about is what a request is about, for the logs: read from the members that
// the commands themselves go by.
type about struct {
	fs     string
	user   string
	path   string // on which something is granted, for a sealed label
	placed bool   // whether there is such a path
	detail string // for people, without the path
}

// aboutOf reads a request. What is malformed the command itself refuses.
func aboutOf(body []byte) (a about) {
	var in struct {
		FS, User, Holder, Permissions, On, Provider string

		KeyID string `json:"key_id"`
		Force bool
	}
	_ = json.Unmarshal(body, &in)
	a.fs, a.user = in.FS, in.User
	switch {
	case in.On != "":
		a.grant(in.Holder, in.Permissions, in.On)
	case in.KeyID != "":
		a.detail = "about " + strings.TrimPrefix(in.Provider+"/"+in.KeyID, "/")
		if in.Force {
			a.detail += ", by force"
		}
	case in.User != "":
		a.detail = "about " + in.User
	}
	return a
}

// grant tells of a grant that is made or taken away.
func (a *about) grant(holder, permissions, on string) {
	p, res, what, err := GrantRequest{Holder: holder, Permissions: permissions, On: on}.parse()
	if err != nil {
		return
	}
	a.fs, a.user = res.FS, p.User
	a.detail = access.Note(p, res, what)
	if !res.IsKey() {
		a.path, a.placed = res.Place(), true
	}
}
