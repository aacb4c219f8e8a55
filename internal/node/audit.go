package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/version"
)

// AuditConfig says whether and how the audit log is kept.
type AuditConfig struct {
	Enabled bool
	Dir     string        // "": ROOT/.server/audit
	MaxSize int64         // of a file, bytes; 0: audit.Options' default
	Keep    time.Duration // 0: for ever
	Sinks   []string      // as audit.ParseSinks reads them
}

// AuditDir is where the audit log of a root lies unless it is told otherwise.
func AuditDir(root string) string { return filepath.Join(root, serverDir, "audit") }

// openAudit opens the audit log of v. Without it, the server does not start:
// whoever wants none says so.
func (n *Node) openAudit(v *vault) error {
	c := n.cfg.Audit
	if !c.Enabled {
		return nil
	}
	sinks, err := audit.ParseSinks(c.Sinks, func(provider string) (audit.HeadSink, error) {
		store, ok := n.cfg.Providers[provider].(audit.NoteStore)
		if !ok {
			return nil, fmt.Errorf("KMS %q keeps nothing but keys, or is not in this server's configuration: name one of type vault-kv", provider)
		}
		return audit.NewNoteSink(provider, store, v.box.RootID()), nil
	})
	if err != nil {
		return err
	}
	log, err := audit.Open(v.box, audit.Options{
		Dir: or(c.Dir, AuditDir(n.cfg.Root)), MaxSize: c.MaxSize, KeepAge: time.Duration(n.auditKeep.Load()),
		Apart: v.ring, Sinks: sinks, Logger: n.log, Clock: n.clock,
	})
	if err != nil {
		return fmt.Errorf("opening the audit log (audit.enabled = false goes without): %w", err)
	}
	v.audit, v.sinks = log, sinks
	return nil
}

// closeAudit ends the audit log, after all that it records and before the
// keyring, which keeps its last head.
func (v *vault) closeAudit() error {
	err := v.audit.Close()
	for _, s := range v.sinks {
		if c, ok := s.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	v.sinks = nil
	return err
}

// Audit returns the audit log. It is nil, which takes every event and keeps
// none, while the node is not ready and where there is to be no log.
func (n *Node) Audit() *audit.Log {
	if v := n.secrets(); v != nil {
		return v.audit
	}
	return nil
}

// KeepAudit sets how long the audit log is kept from now on; 0: for ever.
func (n *Node) KeepAudit(age time.Duration) {
	n.auditKeep.Store(int64(age))
	n.Audit().KeepFor(age)
}

// record takes an event of the server itself.
func (n *Node) record(op, outcome, fs, detail string) {
	n.Audit().Record(audit.Event{Op: op, Outcome: outcome, FS: fs, Detail: detail})
}

// recordStart tells that the server has its keys, and what it serves.
func (n *Node) recordStart(from string) {
	n.record("server.unseal", audit.Ok, "", "starter key from "+from)
	n.record("server.start", audit.Ok, "", fmt.Sprintf("version %s, instance %s", version.String(), n.instance))
	n.mu.RLock()
	defer n.mu.RUnlock()
	for name, err := range n.failed {
		n.Audit().Record(audit.Event{Op: "server.open-fs", FS: name, Outcome: "failed", Detail: err.Error()})
	}
}

// indexAnchor keeps heads of an index in the keyring, and hands them to the
// sinks of the audit log, from which the newest is believed: a keyring that was
// put back together with the index is noticed.
type indexAnchor struct {
	*keyring.Keyring
	log  *audit.Log
	name string
}

func (n *Node) anchor(name string) fsys.Anchor {
	v := n.secrets()
	return indexAnchor{v.ring, v.audit, name}
}

func (a indexAnchor) SetAnchor(ctx context.Context, h efs.Head) error {
	if err := a.Keyring.SetAnchor(ctx, h); err != nil {
		return err
	}
	a.log.AnchorIndex(a.name, h)
	return nil
}

func (a indexAnchor) ResetAnchor(ctx context.Context, h efs.Head) error {
	if err := a.Keyring.ResetAnchor(ctx, h); err != nil {
		return err
	}
	a.log.AnchorIndex(a.name, h)
	return nil
}

func (a indexAnchor) Anchor(fs efs.ID) (efs.Head, bool, error) {
	h, ok, err := a.Keyring.Anchor(fs)
	if err != nil {
		return h, ok, err
	}
	if outside, found := a.log.IndexAnchor(fs); found && (!ok || outside.Revision > h.Revision) {
		return outside, true, nil
	}
	return h, ok, nil
}
