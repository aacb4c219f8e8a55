package server

import (
	"net/http"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

// The routes of /api/v1 that are not files.
const (
	routeBuckets    route = "buckets"    // all file systems that the caller may know of
	routeBucket     route = "bucket"     // one of them
	routeEncryption route = "encryption" // its policy
	routeUsers      route = "users"      //
	routeUser       route = "user"       //
	routeGrants     route = "grants"     //
	routeKeys       route = "kms-keys"   //
	routeKey        route = "kms-key"    //
	routeKeyAction  route = "kms-action" // POST …/ID/rotate and the like
	routeKMSStatus  route = "kms-status" //
	routeCacheClear route = "cache"      // POST /api/v1/cache/clear
	routeArchive    route = "archive"    // GET /api/v1/buckets/FS/archive
)

const apiPrefix = "/api/v1/"

// apiTarget takes apart a path below /api.
func apiTarget(path string) (target, error) {
	none := target{route: routeNone}
	rest, ok := strings.CutPrefix(path, apiPrefix)
	if !ok {
		return none, nil
	}
	part := strings.Split(rest, "/")
	switch {
	case rest == "buckets":
		return target{route: routeBuckets}, nil
	case rest == "kms/keys":
		return target{route: routeKeys}, nil
	case rest == "kms/status":
		return target{route: routeKMSStatus}, nil
	case rest == "cache/clear":
		return target{route: routeCacheClear}, nil
	case len(part) == 3 && part[0] == "kms" && part[1] == "keys" && part[2] != "":
		return target{route: routeKey, name: part[2]}, nil
	case len(part) == 4 && part[0] == "kms" && part[1] == "keys" && part[2] != "" && keyActions[part[3]] != nil:
		return target{route: routeKeyAction, name: part[2], action: part[3]}, nil
	case part[0] != "buckets" || len(part) < 2 || !efs.ValidFSName(part[1]):
		return none, nil
	case len(part) > 2 && part[2] == "objects":
		return objectTarget(path)
	}
	t := target{fs: part[1], route: routeNone}
	switch {
	case len(part) == 2:
		t.route = routeBucket
	case len(part) == 3 && part[2] == "encryption":
		t.route = routeEncryption
	case len(part) == 3 && part[2] == "users":
		t.route = routeUsers
	case len(part) == 4 && part[2] == "users" && efs.ValidUserName(part[3]):
		t.route, t.name = routeUser, part[3]
	case len(part) == 3 && part[2] == "changes":
		t.route = routeChanges
	case len(part) > 2 && part[2] == "uploads":
		t = uploadTarget(t, part[3:])
	case len(part) == 3 && part[2] == "grants":
		t.route = routeGrants
	case len(part) == 3 && part[2] == "archive":
		t.route = routeArchive
	}
	return t, nil
}

func init() {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	for r, methods := range map[route]map[string]handler{
		routeBuckets:    {get: (*exchange).listBuckets, post: (*exchange).createBucket},
		routeBucket:     {get: (*exchange).getBucket, del: (*exchange).deleteBucket},
		routeEncryption: {get: (*exchange).getEncryption, http.MethodPut: (*exchange).putEncryption, del: (*exchange).deleteEncryption},
		routeUsers:      {get: (*exchange).listUsers, post: (*exchange).createUser},
		routeUser:       {get: (*exchange).getUser, del: (*exchange).deleteUser},
		routeGrants:     {get: (*exchange).listGrants, post: (*exchange).grant, del: (*exchange).revokeGrant},
		routeKeys:       {get: (*exchange).listKeys, post: (*exchange).createKey},
		routeKey:        {get: (*exchange).getKey},
		routeKeyAction:  {post: (*exchange).onKey},
		routeKMSStatus:  {get: (*exchange).kmsStatus},
		routeCacheClear: {post: (*exchange).clearCache},
		routeArchive:    {get: (*exchange).archive},
		routeUploads:    {post: (*exchange).beginUpload},
		routeUpload:     {get: (*exchange).getUpload, del: (*exchange).abortUpload},
		routeUploadPart: {http.MethodPut: (*exchange).putPart},

		routeUploadComplete: {post: (*exchange).completeUpload},
	} {
		e := &endpoint{needs: needsSession, methods: methods}
		for _, m := range []string{get, post, http.MethodPut, del} {
			if methods[m] != nil {
				e.allow += m + ", "
			}
		}
		e.allow += http.MethodOptions
		endpoints[r] = e
	}
}

// listPage is which part of a list is wanted.
type listPage struct {
	after string
	limit int
}

// pageQuery reads after and limit, and what else a handler takes before.
func (q *query) page() listPage {
	p := listPage{limit: int(q.number("limit", 1000, 1, 10_000))}
	p.after, _ = q.take("after")
	return p
}

// cut returns what of all, which is in the order of its names, is on the page,
// and the after of the next one.
func cut[T any](p listPage, all []T, name func(*T) string) (part []T, next *string) {
	part = []T{} // an empty list is written as one
	for i := range all {
		if name(&all[i]) <= p.after && p.after != "" {
			continue
		}
		if len(part) == p.limit {
			last := name(&part[len(part)-1])
			return part, &last
		}
		part = append(part, all[i])
	}
	return part, nil
}

// noQuery refuses parameters, of which most of these requests have none.
func (x *exchange) noQuery() error { return x.query().done() }

// readAPI reads the JSON body of a request of the API.
func (x *exchange) readAPI(v any) error {
	return x.readJSON(v, x.s.limits.AuthBodyBytes, "application/json")
}

// created answers that something was made, and where it is.
func (x *exchange) created(location string, v any) error {
	x.Header().Set("Location", location)
	return x.sendValue(http.StatusCreated, v)
}

func (x *exchange) noContent() error {
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// mayKnow is nil for whoever has any right in a file system, and for
// administrators of the server.
func (x *exchange) mayKnow(fs string) error {
	if x.mayAdmin() == nil {
		if _, err := x.s.node.FS(fs); err != nil {
			return writeProblem(err)
		}
		return nil
	}
	if _, rights := x.s.node.Rights(x.who.principal(), fs); rights.None() {
		return outOfReach()
	}
	return nil
}

// mayUseKey is nil if a file system's policy may name a master key on the
// caller's word: its key of the default policy, or one granted.
func (x *exchange) mayUseKey(provider, key string) error {
	d := efs.DefaultPolicy().Stages[0]
	if provider == d.Provider && key == d.KeyID {
		return nil
	}
	return x.mayKey(access.KMSUse, provider, key)
}
