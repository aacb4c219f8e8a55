package admin

import (
	"context"
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

// takingOp are the commands that go on while the volume of the log is full, for
// which space is reserved there: those that make room, and those that shut
// somebody out, which nobody can let wait.
func takingOp(name string) bool {
	switch name {
	case opRevoke, opRemoveKey, opRevokeGrant, opKMSDisable:
		return true
	}
	return strings.HasPrefix(name, "delete-")
}

// audited runs a command and records it. One that changes something is not
// begun while it could not be recorded, except what cannot wait (takingOp),
// and bringing the server into service, before which there is no log.
func (s *Server) audited(ctx context.Context, name string, body []byte, run func() (any, error)) (any, error) {
	reading := readingOp(name)
	if !reading {
		if err := s.node.Audit().Admit(takingOp(name)); err != nil {
			return nil, fmt.Errorf("not done: %w", err)
		}
	}
	result, err := run()
	e := audit.Event{Op: "admin." + name, Outcome: outcomeOf(err)}
	e.User, _ = ctx.Value(peerKey{}).(string)
	a := aboutOf(body)
	e.FS, e.Detail = a.fs, a.detail
	if a.placed {
		e.Name = s.sealLabel(ctx, a.fs, a.path)
	}
	log := s.node.Audit()
	if reading {
		log.Record(e)
		return result, err
	}
	// Also what failed may have been done in part.
	switch unrecorded := log.Commit(context.WithoutCancel(ctx), e); {
	case err != nil:
		return result, err
	case unrecorded != nil:
		return nil, fmt.Errorf("it was done, but could not be recorded: %w", unrecorded)
	}
	return result, nil
}

// sealLabel seals a path for the log; nil where that cannot be done.
func (s *Server) sealLabel(ctx context.Context, fs, path string) []byte {
	f, err := s.node.FS(fs)
	if err != nil {
		return nil
	}
	label, err := f.SealLabel(context.WithoutCancel(ctx), path)
	if err != nil {
		return nil
	}
	return label
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
