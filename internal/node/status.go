package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/version"
)

// caWarning is how long before its end a server's authority is reported.
const caWarning = 365 * 24 * time.Hour

// Status describes a node for people who run it.
type Status struct {
	State       State             `json:"state"`
	Reasons     []string          `json:"reasons,omitempty"` // why it is not ready, or not all of it
	Root        string            `json:"root"`
	Version     string            `json:"version"`
	Instance    efs.ID            `json:"instance"`
	RootID      efs.ID            `json:"root_id,omitzero"`
	Started     time.Time         `json:"started"`
	Sessions    int               `json:"sessions"`
	Certificate *CertificateState `json:"certificate,omitempty"`
	FileSystems []FSStatus        `json:"file_systems"`
	Cache       *CacheStats       `json:"cache,omitempty"`
	Problems    []string          `json:"problems,omitempty"` // what did not fit at start
}

// CertificateState describes the server's certificate.
type CertificateState struct {
	SHA256   string    `json:"sha256"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
	Own      bool      `json:"own"` // of the server's own authority
}

// FSStatus describes one file system. Of one that is not open only name, id,
// state and reason are known.
type FSStatus struct {
	Name       string     `json:"name"`
	ID         efs.ID     `json:"id"`
	State      string     `json:"state"` // open, failed, deleting
	Reason     string     `json:"reason,omitempty"`
	Created    time.Time  `json:"created"`
	Users      int        `json:"users"`
	Files      int64      `json:"files"`
	Bytes      int64      `json:"bytes"`       // of the plaintext
	IndexBytes int64      `json:"index_bytes"` // of the index's file
	Seq        uint64     `json:"seq"`         // of the last change
	Revision   uint64     `json:"revision"`
	AnchorSeq  uint64     `json:"anchor_seq"` // of the head that the keyring remembers
	Policy     efs.Policy `json:"policy,omitzero"`
	Backup     time.Time  `json:"backup,omitzero"` // when the newest was begun
	Volume     string     `json:"volume,omitempty"`
	FanOut     int        `json:"fan_out,omitempty"`
	Problems   []string   `json:"problems,omitempty"`

	Journal *JournalStatus `json:"journal,omitempty"`
}

// Status returns how the node is.
func (n *Node) Status(ctx context.Context) Status {
	_, reasons := n.Ready()
	s := Status{
		State: n.State(), Reasons: reasons, Root: n.cfg.Root, Version: version.String(),
		Instance: n.instance, Started: n.started.UTC(), FileSystems: n.ListFS(ctx), Cache: n.CacheStats(),
	}
	n.mu.RLock()
	s.Problems = slices.Clone(n.problems)
	n.mu.RUnlock()
	if v := n.secrets(); v != nil {
		s.RootID, s.Sessions = v.box.RootID(), v.sessions.Count()
		s.Certificate = v.tls.state()
		if end := v.tls.ca.Certificate().NotAfter; v.tls.cfg.TLSCert == "" && n.clock().After(end.Add(-caWarning)) {
			s.Problems = append(s.Problems, fmt.Sprintf("the server's certificate authority ends on %s: clients will need a new ca.crt", end.Format(time.DateOnly)))
		}
	}
	return s
}

func (t *serverTLS) state() *CertificateState {
	leaf := t.current.Load().Leaf
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, net.IP(ip).String())
	}
	return &CertificateState{SHA256: pki.Fingerprint(leaf), Names: names, NotAfter: leaf.NotAfter.UTC(), Own: t.cfg.TLSCert == ""}
}

// ListFS describes every file system, by name.
func (n *Node) ListFS(ctx context.Context) []FSStatus {
	out := []FSStatus{}
	v := n.secrets()
	if v == nil {
		return out
	}
	open := *n.open.Load()
	for _, rec := range v.registry.all() {
		s := FSStatus{Name: rec.Name, ID: rec.ID, Created: rec.Created, State: string(rec.Phase)}
		if rec.Phase == phaseReady {
			n.describe(ctx, v, &s, open[rec.Name])
		}
		out = append(out, s)
	}
	return out
}

// describe fills in what is known of a file system that should be open.
func (n *Node) describe(ctx context.Context, v *vault, s *FSStatus, f *FileSystem) {
	fail := func(err error) {
		s.State = "failed"
		s.Reason = err.Error()
	}
	if f == nil {
		n.mu.RLock()
		err := n.failed[s.Name]
		n.mu.RUnlock()
		if err == nil {
			err = efs.ErrUnavailable
		}
		fail(err)
		return
	}
	s.State = "open"
	s.Policy, s.Problems = f.Policy(), f.problems
	layout := f.Layout()
	s.Volume, s.FanOut = layout.Volume, layout.FanOut
	s.IndexBytes, s.Journal = f.Stats().SizeBytes, f.Journal()
	usage, err := f.Usage(ctx)
	if err != nil {
		fail(err)
		return
	}
	s.Files, s.Bytes = usage.Files, usage.Bytes
	head, err := f.Head(ctx)
	if err != nil {
		fail(err)
		return
	}
	s.Seq, s.Revision = head.Seq, head.Revision
	if b, err := f.LastBackup(ctx); err == nil && b.Time != 0 {
		s.Backup = time.UnixMicro(b.Time).UTC()
	}
	if anchor, ok, err := v.ring.Anchor(s.ID); err == nil && ok {
		s.AnchorSeq = anchor.Seq
	}
	if users, err := f.Users.ListUsers(ctx); err == nil {
		s.Users = len(users)
	}
	if err := f.Err(); err != nil {
		fail(err)
	}
}
