package server

import (
	"net/http"
	"strings"

	"github.com/efs-project/efs"
)

// route names what a request is for, in the log and the metrics; so there are
// few, and none depends on what a client sends.
type route string

// The routes.
const (
	routeData        route = "data"        // a file or directory of the session's own file system
	routeObject      route = "object"      // the same on a file system that the path names
	routeChanges     route = "changes"     //
	routeHello       route = "hello"       // POST /auth/hello
	routeSession     route = "session"     // POST, DELETE /auth/session
	routeRenew       route = "renew"       // POST /auth/renew
	routeCertificate route = "certificate" // POST /auth/certificate
	routeLive        route = "livez"       //
	routeReady       route = "readyz"      //
	routeMetrics     route = "metrics"     //
	routeOptions     route = "options"     // OPTIONS *
	routeNone        route = "none"        // nothing is there
)

// reserved are the first segments that never name a file by the short form
// /PATH. A file of such a name is reached by /data/PATH.
var reserved = map[string]bool{
	"api": true, "auth": true, "data": true, "dav": true, "s3": true, "ui": true,
	"livez": true, "readyz": true, "metrics": true, ".well-known": true,
}

// target is what the path of a request comes to.
type target struct {
	route  route
	fs     string // routeObject and routes of buckets: the file system
	name   string // of a user or a key
	action string // routeKeyAction
	path   string // of the file or directory, without slashes around it
	dir    bool   // the path ended in a slash, or is the root
	prefix string // what the path of a file is preceded by in this form of URL
}

// in returns the file system that a path is in, for a user of own.
func (t *target) in(own string) string {
	if t.route == routeObject {
		return t.fs
	}
	return own
}

const objectsPrefix = "/api/v1/buckets/"

// findTarget takes a decoded path apart.
func findTarget(path string) (target, error) {
	if path == "*" {
		return target{route: routeOptions}, nil
	}
	if path == "" || path[0] != '/' {
		return target{route: routeNone}, badPath.with("The path must begin with a slash.")
	}
	first, rest, more := strings.Cut(path[1:], "/")
	switch first {
	case "data":
		return dataTarget(target{route: routeData, prefix: "/data/"}, rest)
	case "api":
		return apiTarget(path)
	case "auth":
		return target{route: authRoute(rest)}, nil
	case "changes":
		// Only the path as a whole is the feed: /changes/… is a directory
		// like any other, since "changes" is not among the reserved names.
		if !more {
			return target{route: routeChanges}, nil
		}
	case "livez", "readyz", "metrics":
		if !more {
			return target{route: route(first)}, nil
		}
	}
	if reserved[first] {
		return target{route: routeNone}, nil
	}
	return dataTarget(target{route: routeData, prefix: "/"}, path[1:])
}

func dataTarget(t target, rest string) (target, error) {
	var err error
	t.path, t.dir, err = checkPath(rest)
	return t, err
}

func objectTarget(path string) (target, error) {
	rest, ok := strings.CutPrefix(path, objectsPrefix)
	if !ok {
		return target{route: routeNone}, nil
	}
	fs, rest, _ := strings.Cut(rest, "/")
	key, ok := strings.CutPrefix(rest, "objects/")
	if !ok || !efs.ValidFSName(fs) {
		return target{route: routeNone}, nil
	}
	return dataTarget(target{route: routeObject, fs: fs, prefix: objectsPrefix + fs + "/objects/"}, key)
}

func authRoute(rest string) route {
	switch rest {
	case "hello", "session", "renew", "certificate":
		return route(rest)
	}
	return routeNone
}

// handler answers one request that has been authenticated as its route
// demands. An error before the status line becomes a problem document; one
// after it aborts the answer.
type handler func(x *exchange, t target) error

// needs says what must be known of a caller before a handler runs.
type needs int

const (
	needsNothing     needs = iota // health
	needsCertificate              // the certificate factor alone: the handshake
	needsSession                  // all factors of the listener
)

// endpoint is what one route takes.
type endpoint struct {
	needs   needs
	methods map[string]handler
	allow   string
}

const dataMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, MOVE, COPY, MKCOL, OPTIONS"

var dataEndpoint = &endpoint{needsSession, map[string]handler{
	http.MethodGet: (*exchange).get, http.MethodHead: (*exchange).get,
	http.MethodPut: (*exchange).put, http.MethodPost: (*exchange).put,
	http.MethodDelete: (*exchange).remove, http.MethodPatch: (*exchange).patch,
	"MOVE": (*exchange).moveOrCopy, "COPY": (*exchange).moveOrCopy, "MKCOL": (*exchange).mkcol,
}, dataMethods}

var endpoints = map[route]*endpoint{
	routeData:   dataEndpoint,
	routeObject: dataEndpoint,
	routeChanges: {needsSession, map[string]handler{
		http.MethodGet: (*exchange).changes}, "GET, OPTIONS"},
	routeHello: {needsCertificate, map[string]handler{
		http.MethodPost: (*exchange).hello}, "POST, OPTIONS"},
	routeSession: {needsCertificate, map[string]handler{
		http.MethodPost: (*exchange).beginSession, http.MethodDelete: (*exchange).endSession}, "POST, DELETE, OPTIONS"},
	routeRenew: {needsSession, map[string]handler{
		http.MethodPost: (*exchange).renewSession}, "POST, OPTIONS"},
	routeCertificate: {needsSession, map[string]handler{
		http.MethodPost: (*exchange).renewCertificate}, "POST, OPTIONS"},
	routeLive: {needsNothing, map[string]handler{
		http.MethodGet: (*exchange).live, http.MethodHead: (*exchange).live}, "GET, HEAD, OPTIONS"},
	routeReady: {needsNothing, map[string]handler{
		http.MethodGet: (*exchange).ready, http.MethodHead: (*exchange).ready}, "GET, HEAD, OPTIONS"},
	routeMetrics: {needsSession, map[string]handler{
		http.MethodGet: (*exchange).metricsPage}, "GET, OPTIONS"},
}

// handle runs the request through the gates every request passes, in this
// order: the path, the route, the method, whether the server has its keys and
// a place for one more, who is asking, and then the handler.
func (x *exchange) handle() error {
	path, err := decodedPath(x.r.URL)
	if err != nil {
		return err
	}
	t, err := findTarget(path)
	x.route, x.target = t.route, t
	if err != nil {
		return err
	}
	if t.route == routeOptions {
		if x.r.Method != http.MethodOptions { // 2xx would tell that something was stored or removed
			return &problem{kind: methodNotAllowed, allow: http.MethodOptions, detail: "* is for OPTIONS alone. Name a path."}
		}
		return x.options(dataMethods)
	}
	e := endpoints[t.route]
	if e == nil || !x.l.serves(t.route) {
		return notFound.with("No such endpoint. A file of this name is reached under /data/.")
	}
	if x.r.Method == http.MethodOptions {
		return x.options(e.allow)
	}
	h := e.methods[x.r.Method]
	if h == nil {
		return &problem{kind: methodNotAllowed, allow: e.allow, detail: "Use one of: " + e.allow + "."}
	}
	if e.needs == needsNothing {
		return h(x, t)
	}
	if err := x.s.serving(); err != nil {
		return err
	}
	if !x.s.requests.enter() {
		return &problem{kind: tooBusy, retry: 1, detail: "Too many requests are under way. Try again in a moment."}
	}
	defer x.s.requests.leave()
	x.judgedAt = x.s.generation.Load()
	if err := x.authenticate(e.needs); err != nil {
		return err
	}
	x.trace()
	if err := x.enter(); err != nil {
		return err
	}
	if x.who.users != nil {
		user := userKey{x.who.fsName, x.who.user}
		if !x.s.underWay.take(user, max(1, int(x.s.requests.most.Load())/2)) {
			return &problem{kind: tooManyRequests, retry: 1, detail: "The user has as many requests under way as one user may have, watched change feeds among them. Wait for one to end."}
		}
		defer x.s.underWay.leave(user)
	}
	x.aim(t)
	if err := x.admitted(); err != nil {
		return err
	}
	switch x.r.Method {
	case http.MethodDelete, "MOVE", "COPY": // of a tree, which may take long
		x.watchPeer()
		defer x.endWithWelcome()()
	}
	return h(x, t)
}

// handleOps answers on a listener that serves health and metrics alone, to
// whoever can reach it.
func (x *exchange) handleOps() error {
	t, err := findTarget(x.r.URL.Path)
	if err != nil || t.route != routeLive && t.route != routeReady && t.route != routeMetrics {
		return notFound.with("This listener serves /livez, /readyz and /metrics.")
	}
	x.route = t.route
	e := endpoints[t.route]
	h := e.methods[x.r.Method]
	if h == nil {
		return &problem{kind: methodNotAllowed, allow: e.allow, detail: "Use one of: " + e.allow + "."}
	}
	return h(x, t)
}

func (x *exchange) options(allow string) error {
	x.Header().Set("Allow", allow)
	x.WriteHeader(http.StatusNoContent)
	return nil
}
