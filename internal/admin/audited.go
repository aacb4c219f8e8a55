package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/efs-project/efs/internal/audit"
)

type peerKey struct{}

// withPeer remembers who is at the other end of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok {
		if uid, err := peerUID(u); err == nil {
			return context.WithValue(ctx, peerKey{}, fmt.Sprintf("uid:%d", uid))
		}
	}
	return ctx
}

// readingOps are the commands that change nothing. All others wait for their
// line in the audit log before they tell that they are done.
func readingOp(name string) bool {
	switch name {
	case opStatus, opResolve, opAuditShow, opAuditVerify, opAuditHead, opReceipts, opReceiptKey:
		return true
	}
	return strings.HasPrefix(name, "list-") || strings.HasPrefix(name, "show-")
}

// audited runs a command and records it. One that changes something is not
// begun while it could not be recorded, except what may mend that: deleting,
// and bringing the server into service, before which there is no log.
func (s *Server) audited(ctx context.Context, name string, body []byte, run func() (any, error)) (any, error) {
	reading := readingOp(name)
	if !reading {
		if err := s.node.Audit().Admit(strings.HasPrefix(name, "delete-")); err != nil {
			return nil, fmt.Errorf("not done: %w", err)
		}
	}
	result, err := run()
	e := audit.Event{Op: "admin." + name, Outcome: outcomeOf(err)}
	e.User, _ = ctx.Value(peerKey{}).(string)
	var about struct{ FS, User, Name, ID string }
	_ = json.Unmarshal(body, &about) // the command itself refuses what is malformed
	e.FS, e.Detail = about.FS, "about "+about.User
	if about.User == "" {
		e.Detail = ""
	}
	log := s.node.Audit()
	if reading || err != nil {
		log.Record(e)
		return result, err
	}
	if err := log.Commit(context.WithoutCancel(ctx), e); err != nil {
		return nil, fmt.Errorf("it was done, but could not be recorded: %w", err)
	}
	return result, nil
}

// outcomeOf names a failure by its kind; its text may hold what is no matter
// of the log.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return audit.Ok
	case errors.Is(err, context.Canceled):
		return "broken-off"
	}
	if kind := failure(err).Kind; kind != "" {
		return kind
	}
	return "failed"
}
