package node

import (
	"context"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/fsys"
)

// auditor is the audit log as file systems see it.
type auditor struct{ *audit.Log }

// auditor returns nil where there is no log.
func (n *Node) auditor() fsys.Auditor {
	if log := n.Audit(); log != nil {
		return auditor{log}
	}
	return nil
}

// Lines calls fn for the changes of fs that have lines from number from on.
func (a auditor) Lines(ctx context.Context, fs efs.ID, from uint64, fn func(seq uint64, request string)) error {
	return a.Changes(ctx, fs, from, func(l *audit.Line) {
		if l.Op != opBegin {
			fn(l.Change, l.Request)
		}
	})
}

// Recover hands over the line of a change that was committed before the server
// was killed.
func (a auditor) Recover(_ context.Context, fs *fsys.FS, c *efs.Change, name, to []byte) error {
	o := c.Origin
	e := audit.Event{
		Time: time.UnixMicro(c.Time), Op: o.Op, User: c.User, FS: fs.Name(), From: o.From, Method: o.Method,
		Name: name, To: to, Outcome: audit.Ok, Session: o.Session, Request: o.Request,
		FSID: fs.ID(), Change: c.Seq, Late: true,
	}
	if c.After != nil {
		e.Object = c.After.File
	} else if c.Before != nil {
		e.Object = c.Before.File
	}
	return a.Hand(&e)
}

// opBegin is the operation of lines that say which changes have none.
const opBegin = "audit.begin"

// Begin says that only what comes after a change is recorded for certain.
func (a auditor) Begin(_ context.Context, fs *fsys.FS, after uint64, why string) error {
	return a.Hand(&audit.Event{Op: opBegin, FS: fs.Name(), Detail: "changes after this one have lines: " + why, FSID: fs.ID(), Change: after})
}
