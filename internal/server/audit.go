package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/fsys"
)

// auditing is what an exchange knows for its line in the audit log.
type auditing struct {
	target   target // of the path
	to       string // where something is moved or copied
	claimed  string // user that a handshake is for
	op       string // set by a handler that knows better than the route
	note     string // of a handler: what the request is about, where its path does not tell
	place    []byte // of a handler: sealed label of the path that it is about
	begun    bool   // a change that the log expects
	recorded bool   // the event has been handed over
	void     bool   // a change that could not be recorded: its answer was replaced

	cause fsys.Cause // of what is changed in a file system
	told  bool       // the line of its change has been handed over
}

// dataOps are the operations on files, by method; the second is that on a path
// that ends in a slash.
var dataOps = map[string][2]string{
	http.MethodGet: {"file.read", "dir.list"}, http.MethodHead: {"file.stat", "dir.stat"},
	http.MethodPut: {"file.store", "file.store"}, http.MethodPost: {"file.store", "file.store"},
	http.MethodDelete: {"file.delete", "dir.delete"}, http.MethodPatch: {"file.patch", "dir.patch"},
	"MOVE": {"file.move", "dir.move"}, "COPY": {"file.copy", "dir.copy"}, "MKCOL": {"dir.create", "dir.create"},
}

// routeOps are the other operations that have names of their own.
var routeOps = map[route]map[string]string{
	routeHello:       {http.MethodPost: "auth.hello"},
	routeSession:     {http.MethodPost: "auth.login", http.MethodDelete: "auth.logout"},
	routeRenew:       {http.MethodPost: "auth.renew"},
	routeCertificate: {http.MethodPost: "auth.certificate"},
	routeChanges:     {http.MethodGet: "changes.read"},
	routeArchive:     {http.MethodGet: "archive.read"},
}

// unaudited are the routes that tell or change nothing of what is stored.
var unaudited = map[route]bool{routeLive: true, routeReady: true, routeMetrics: true, routeOptions: true, routeNone: true}

// audited reports whether the request has a line in the audit log.
func (x *exchange) audited() bool {
	return !unaudited[x.route] && x.r.Method != http.MethodOptions
}

// changing reports whether the request, if it is carried out, changes
// something: then its answer waits for its line, or for a change that tells of
// it.
func (x *exchange) changing() bool {
	return x.r.Method != http.MethodGet && x.r.Method != http.MethodHead && x.route != routeHello && x.audited()
}

// admitted refuses what could not be recorded before it is begun. Deleting is
// what makes room on a full volume, and who wants to log out is not kept in.
func (x *exchange) admitted() error {
	log := x.s.node.Audit()
	if log == nil || !x.changing() || x.route == routeSession && x.r.Method == http.MethodDelete {
		return nil
	}
	// Whoever is to make room must be able to log in.
	room := x.r.Method == http.MethodDelete || x.route == routeSession || x.route == routeRenew
	if err := log.Admit(room); err != nil {
		return &problem{kind: auditUnavailable, cause: err, retry: 10, detail: "Nothing was changed, since it could not be recorded. The operator must look at the volume of the audit log."}
	}
	if !x.onData() { // whose lines are not waited for
		log.Begin()
		x.begun = true
	}
	return nil
}

// commitAudit makes the line of a change durable before its answer goes out.
// It is called once, when the status line of the answer is due, so that no
// handler can do without. False means that the answer has been replaced.
func (x *exchange) commitAudit(status int) bool {
	if x.recorded || status >= 400 || !x.changing() {
		return true
	}
	log := x.s.node.Audit()
	if log == nil {
		return true
	}
	x.recorded = true
	if x.cause.Seq() != 0 && !x.told {
		x.hand(log, x.event(audit.Ok))
		return true
	}
	// The client may have left; its change stays, and so must its line.
	ctx, span := x.s.node.Tracer().Step(context.WithoutCancel(x.r.Context()), "audit.Commit")
	err := log.Commit(ctx, x.event(audit.Ok))
	span.EndWith(err)
	if err == nil {
		return true
	}
	x.s.log.Error("a change was made but not recorded", "id", x.id, "err", err)
	p := auditUnavailable.from(err, "The request was carried out, but could not be recorded, and is therefore not confirmed. The operator must look at the volume of the audit log.")
	p.send(x)
	x.void = true
	return false
}

// onData reports whether the request is for what lies in a file system.
func (x *exchange) onData() bool {
	switch x.route {
	case routeData, routeObject, routeUploads, routeUpload, routeUploadPart, routeUploadComplete:
		return true
	}
	return false
}

// caused has the change of the request tell of it, so that it is durable with
// that, and its line need not be waited for.
func (x *exchange) caused(who fsys.Who) fsys.Who {
	if x.s.node.Audit() == nil || !x.onData() {
		return who
	}
	x.cause.Origin = efs.Origin{Op: x.auditOp(), Request: x.id, From: x.r.RemoteAddr, Method: knownMethod(x.r.Method)}
	if x.who.session != nil {
		x.cause.Origin.Session = x.who.session.ID
	}
	if x.to != "" { // the change does not always tell where from
		if name, err := x.fs.SealLabel(x.r.Context(), x.target.path); err == nil {
			x.cause.Origin.Name = name
		}
		x.cause.Begun = x.begunAudit
	}
	who.Cause = &x.cause
	return who
}

// begunAudit hands over a line of what goes on after a first change. Another
// tells how it ended.
func (x *exchange) begunAudit() {
	e := x.event(audit.Ok)
	e.Detail = "begun"
	x.told = true
	x.hand(x.s.node.Audit(), e)
}

// hand hands over the line of a change that tells of the request.
func (x *exchange) hand(log *audit.Log, e audit.Event) {
	e.FSID, e.Change = x.fs.ID(), x.cause.Seq()
	if err := log.Hand(&e); err != nil { // it is no loss
		x.s.log.Error("the line of a change is written at the next start", "id", x.id, "err", err)
	}
	x.cause.Done() // not only when the client has taken its answer
}

// recordAudit hands over the line of a request that nobody waits for, when its
// outcome is known.
func (x *exchange) recordAudit(broken bool) {
	defer x.cause.Done()
	if x.begun {
		x.begun = false
		x.s.node.Audit().End()
	}
	if x.recorded || !x.audited() {
		return
	}
	log := x.s.node.Audit()
	if log == nil {
		return
	}
	x.recorded = true
	outcome := audit.Ok
	switch {
	case x.problem != "":
		outcome = x.problem
	case broken || x.status == 0:
		outcome = "broken-off"
	}
	if x.cause.Seq() != 0 && !x.told {
		x.hand(log, x.event(outcome))
		return
	}
	log.Record(x.event(outcome))
}

// event describes the request.
func (x *exchange) event(outcome string) audit.Event {
	e := audit.Event{
		Op: x.auditOp(), FS: x.fsName, From: x.r.RemoteAddr, Method: knownMethod(x.r.Method),
		Object: x.object, Outcome: outcome, Request: x.id,
	}
	if e.FS == "" || x.target.fs != "" {
		e.FS = cmp.Or(x.target.fs, x.who.fsName)
	}
	if x.target.name != "" { // a user, or a key and what is done with it
		e.Detail = strings.TrimSpace("about " + x.target.name + " " + x.target.action)
	}
	if x.note != "" {
		e.Detail = x.note
	}
	e.Name = x.place
	switch {
	case x.who.user == "":
		if x.claimed != "" {
			e.Detail = "claimed to be " + x.claimed
		}
	case x.who.fsName == e.FS, x.who.fsName == "":
		e.User = x.who.user
	default:
		e.User = x.who.principal().String()
	}
	if x.who.session != nil {
		e.Session = x.who.session.ID
	}
	x.label(&e)
	return e
}

// label seals the paths of the request for the log.
func (x *exchange) label(e *audit.Event) {
	if x.fs == nil || !x.onData() {
		return
	}
	ctx := context.WithoutCancel(x.r.Context())
	var err error
	if e.Name = x.cause.Origin.Name; e.Name == nil {
		e.Name, err = x.fs.SealLabel(ctx, x.target.path)
	}
	if err == nil && x.to != "" {
		e.To, err = x.fs.SealLabel(ctx, x.to)
	}
	if err != nil && e.Detail == "" { // without the keys there is no label; the object's id is there all the same
		e.Detail = "the path could not be sealed"
	}
}

func (x *exchange) auditOp() string {
	if x.op != "" {
		return x.op
	}
	if x.route == routeData || x.route == routeObject {
		if ops, ok := dataOps[x.r.Method]; ok {
			if x.target.dir || x.target.path == "" {
				return ops[1]
			}
			return ops[0]
		}
	}
	if op := routeOps[x.route][x.r.Method]; op != "" {
		return op
	}
	return "api." + string(x.route) + "." + strings.ToLower(knownMethod(x.r.Method))
}
