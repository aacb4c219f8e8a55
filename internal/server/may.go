package server

import (
	"errors"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsys"
)

// aim finds the file system that a request is for and what the caller may do
// there. One that does not exist is like one where nothing was granted: x.fs
// is nil, and every question is answered from x.rights before x.fs is used.
func (x *exchange) aim(t target) {
	if t.fs != "" && t.fs != x.who.fsName {
		x.fs, x.fsName, x.rights = nil, t.fs, nil
		if f, rights := x.s.node.Rights(x.who.principal(), t.fs); f != nil {
			x.fs, x.rights = f.FS, rights
		}
		return
	}
	x.fs, x.fsName, x.rights = x.who.fs, x.who.fsName, x.ownRights()
}

// again finds out what the caller may do now, for a request that goes on for
// long.
func (x *exchange) again(t target) {
	fs := x.fs
	if x.aim(t); x.fs == nil { // nothing any more
		x.fs = fs
	}
}

// ownRights returns what the caller may do in the file system that the caller
// is a user of. What a connection's judgement remembers holds while nothing
// about its users has changed.
func (x *exchange) ownRights() *access.Rights {
	who := &x.who
	if who.fs == nil { // an administrator of the server
		return nil
	}
	if g := who.users.Generation(); who.rights == nil || who.rightsAt != g {
		who.rights, who.rightsAt = who.users.Rights(who.user), g
	}
	return who.rights
}

// principal is who is asking.
func (w *identity) principal() access.Principal {
	return access.Principal{User: w.user, Realm: w.fsName}
}

// by is on whose behalf the request changes something: a user's name in the
// user's own file system, USER@FS elsewhere.
func (x *exchange) by() fsys.Who {
	if x.fsName != x.who.fsName {
		return x.caused(fsys.Who{User: x.who.principal().String()})
	}
	return x.caused(fsys.Who{User: x.who.user})
}

// may is nil if all of p is permitted on path and below. What is out of reach
// is answered like what does not exist, without looking; what the caller knows
// of, but may not do, is forbidden, whether it exists or not.
func (x *exchange) may(p access.Permissions, path string) error {
	if x.rights.May(p, path) {
		return nil
	}
	if x.rights.Reaches(path) {
		return mayNot(p)
	}
	return outOfReach()
}

// mayCreate is may for what makes something at path: where that is out of
// reach it is forbidden, since "not found" would say nothing of use.
func (x *exchange) mayCreate(path string) error {
	if x.rights.May(access.Write, path) {
		return nil
	}
	return mayNot(access.Write)
}

func mayNot(p access.Permissions) error {
	return forbidden.with("It takes " + p.String() + " here. Ask whoever manages the file system for a grant.")
}

// outOfReach is in every byte what is answered about a path where nothing is.
func outOfReach() error { return writeProblem(efs.ErrNotFound) }

// mayList is nil if a directory may be listed. scope narrows the listing where
// the directory is only on the way to what was granted; nil: to nothing.
func (x *exchange) mayList(path string) (scope fsys.Scope, err error) {
	switch {
	case x.rights.May(access.List, path):
		return nil, nil
	case x.rights.OnTheWay(path):
		return x.rights, nil
	}
	return nil, x.may(access.List, path)
}

// wayProblem is readProblem of a directory on the way to what was granted: of
// a file that stands there instead, nothing is told.
func wayProblem(err error) error {
	if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrNotDir) {
		return outOfReach()
	}
	return readProblem(err)
}

// mayTree is nil if e, which is at path and is to be moved or copied, may be
// with all below: a directory takes List too, since its names go with it.
func (x *exchange) mayTree(e *efs.Entry, path string) error {
	if e.Kind != efs.KindDir {
		return nil
	}
	return x.may(access.List, path)
}

// mayAdmin is nil for an administrator of the server.
func (x *exchange) mayAdmin() error {
	if x.who.fsName == efs.ServerRealm {
		return nil
	}
	return forbidden.with("This is for administrators of the server. efsctl create-admin makes one.")
}

// mayBucket is nil for whoever manages a file system: an administrator of the
// server, or a user with manage on it. To others one that they have nothing to
// do with is as if it did not exist.
func (x *exchange) mayBucket(fs string) error { return x.mayFS(access.Manage, fs) }

// mayFS is nil if p, a permission on a file system as a whole, is permitted;
// always for administrators of the server.
func (x *exchange) mayFS(p access.Permissions, fs string) error {
	if x.mayAdmin() == nil {
		return nil
	}
	_, rights := x.s.node.Rights(x.who.principal(), fs)
	switch {
	case rights.May(p, ""):
		return nil
	case rights.None():
		return outOfReach()
	}
	return mayNot(p)
}

// mayKey is nil if p is permitted on a master key; always for administrators
// of the server. A key on which the caller has no grant is as if it did not
// exist. With p zero it asks whether the caller may know of the key.
func (x *exchange) mayKey(p access.Permissions, provider, key string) error {
	if x.mayAdmin() == nil {
		return nil
	}
	rights := x.s.node.KeyRights(x.who.principal())
	switch {
	case rights.OnKey(provider, key) == 0:
		return outOfReach()
	case rights.MayKey(p, provider, key):
		return nil
	}
	return mayNot(p)
}

// mayCreateKey is nil for whoever may make master keys: administrators of the
// server and whoever manages a file system. Node.OwnKey gives the key to its
// maker.
func (x *exchange) mayCreateKey() error {
	if x.mayAdmin() == nil || x.s.node.ManagesAny(x.who.principal()) {
		return nil
	}
	return forbidden.with("Keys are made by administrators of the server and by those who manage a file system.")
}

// getUnread answers GET and HEAD of what the caller may not read, by a path
// without a slash at its end: where the caller may list, or is on the way to
// what was granted, the name of a directory leads there, as for everybody.
func (x *exchange) getUnread(path string) error {
	may := x.rights.May(access.List, path)
	if !may && !x.rights.OnTheWay(path) {
		return x.may(access.Read, path)
	}
	e, err := x.fs.Stat(x.r.Context(), path)
	switch {
	case err != nil && may:
		return readProblem(err)
	case err != nil:
		return wayProblem(err)
	case e.Kind == efs.KindDir:
		return x.toDirectory()
	case may:
		return mayNot(access.Read)
	}
	return outOfReach()
}
