package server

import (
	"cmp"

	"github.com/efs-project/efs/internal/tracing"
)

// trace begins the span of a request whose caller is known. Only such a caller
// goes on with a trace of its own: others could have anything kept, in as many
// traces as they like.
func (x *exchange) trace() {
	t := x.s.node.Tracer()
	if t == nil {
		return
	}
	parent := ""
	if v := x.r.Header["Traceparent"]; len(v) == 1 && x.who.user != "" {
		parent = v[0]
	}
	ctx, span := t.Request(x.r.Context(), parent, x.start)
	x.r, x.span = x.r.WithContext(ctx), span
}

// endTrace says how the request ended. It does nothing the second time. A
// request that was refused before its caller was known gets its span here.
func (x *exchange) endTrace(broken bool) {
	t := x.s.node.Tracer()
	if t == nil || x.traced || quietRoutes[x.route] {
		return
	}
	x.traced = true
	if x.span == (tracing.Span{}) {
		_, x.span = t.Request(x.r.Context(), "", x.start)
	}
	if x.span.On() {
		x.describeTrace(broken)
	}
	x.span.End()
}

// quietRoutes are asked every few seconds, for ever.
var quietRoutes = map[route]bool{routeLive: true, routeReady: true, routeMetrics: true}

// describeTrace says of the request what its line in the log says, in the terms of
// OpenTelemetry's semantic conventions where they have one; and no name, user
// or address.
func (x *exchange) describeTrace(broken bool) {
	s, method := x.span, knownMethod(x.r.Method)
	s.Name(method + " " + string(x.route))
	s.Text("http.request.method", method)
	s.Text("http.route", string(x.route))
	s.Text("efs.request_id", x.id)
	s.Number("http.request.body.size", x.in)
	s.Number("http.response.body.size", x.out)
	if x.status != 0 {
		s.Number("http.response.status_code", int64(x.status))
	}
	if x.fs != nil {
		s.Text("efs.fs_id", x.fs.ID().String())
	}
	if id := objectID(x); id != "" {
		s.Text("efs.object_id", id)
	}
	switch {
	case x.status >= 500 || x.status == 0 && !x.follows || broken:
		s.Failed(cmp.Or(x.problem, "broken-off"))
	case x.problem != "":
		s.Text("error.type", x.problem)
	}
}
