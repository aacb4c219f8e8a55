package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/secret"
)

// AuditQuery asks for lines of the audit log. Zero fields let all through.
type AuditQuery struct {
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	User    string    `json:"user,omitempty"`
	FS      string    `json:"fs,omitempty"`
	Op      string    `json:"op,omitempty"`
	Outcome string    `json:"outcome,omitempty"`
	Object  efs.ID    `json:"object,omitzero"`
	From    uint64    `json:"from,omitempty"` // number of the first line
}

// AuditLine is a line with what its labels say: paths, or "(forgotten)".
type AuditLine struct {
	audit.Line
	Path   string `json:"path,omitempty"`
	ToPath string `json:"to_path,omitempty"`
}

// AuditVerifyRequest asks whether the audit log is whole.
type AuditVerifyRequest struct {
	FirstKey string   `json:"first_key,omitempty"` // base64, where it was taken from the server
	Heads    []string `json:"heads,omitempty"`     // lines that were kept elsewhere
}

// AuditShown says how many lines were sent.
type AuditShown struct {
	Lines int `json:"lines"`
}

// AuditHeadResult is the newest head.
type AuditHeadResult struct {
	Head string `json:"head"`
}

func auditShow(ctx context.Context, s *Server, out *stream, r AuditQuery) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	shown := AuditShown{}
	q := audit.Query{Since: r.Since, Until: r.Until, User: r.User, FS: r.FS, Op: r.Op, Out: r.Outcome, Object: r.Object, From: r.From}
	err := s.node.Audit().Read(ctx, q, func(l *audit.Line) error {
		a := AuditLine{Line: *l, Path: s.openLabel(ctx, l.FS, l.Name), ToPath: s.openLabel(ctx, l.FS, l.To)}
		b, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("line %d: %w", l.Seq, err)
		}
		text := string(b)
		shown.Lines++
		return out.send(Event{Line: &text})
	})
	return shown, err
}

// openLabel says what a label stands for.
func (s *Server) openLabel(ctx context.Context, fs string, label []byte) string {
	if len(label) == 0 {
		return ""
	}
	f, err := s.node.FS(fs)
	if err != nil {
		return "(unknown)"
	}
	labels, ok := any(f.FS).(audit.Labeler)
	if !ok {
		return "(unknown)"
	}
	path, err := labels.OpenLabel(ctx, label)
	switch {
	case errors.Is(err, efs.ErrForgotten):
		return "(forgotten)"
	case err != nil:
		return "(unknown)"
	}
	return "/" + path
}

func auditVerify(ctx context.Context, s *Server, _ *stream, r AuditVerifyRequest) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	var first []byte
	if r.FirstKey != "" {
		var err error
		if first, err = base64.StdEncoding.DecodeString(r.FirstKey); err != nil || len(first) != secret.Size {
			return nil, fmt.Errorf("the first key must be the base64 of 32 bytes, as `efsctl audit take-key` gave it: %w", efs.ErrBadInput)
		}
	}
	var heads [][]byte
	for _, h := range r.Heads {
		heads = append(heads, []byte(h+"\n"))
	}
	return s.node.Audit().Verify(ctx, first, heads)
}

func auditHead(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	head, err := s.node.Audit().SignHead(ctx)
	return AuditHeadResult{string(head)}, err
}

// auditTakeKey sends the key as a line, not as its result: it must have left
// before it is removed.
func auditTakeKey(ctx context.Context, s *Server, out *stream, _ none) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	return none{}, s.node.Audit().TakeKey(ctx, func(key []byte) error {
		text := base64.StdEncoding.EncodeToString(key)
		return out.send(Event{Line: &text})
	})
}

// AuditShow calls line for each line of the audit log that q asks for, oldest
// first.
func (c *Client) AuditShow(ctx context.Context, q AuditQuery, line func(text string)) (int, error) {
	follow := *c
	follow.Line = line
	shown, err := call[AuditShown](ctx, &follow, opAuditShow, q)
	return shown.Lines, err
}

// AuditVerify verifies the audit log of the running server.
func (c *Client) AuditVerify(ctx context.Context, r AuditVerifyRequest) (audit.Report, error) {
	return call[audit.Report](ctx, c, opAuditVerify, r)
}

// AuditHead has a head signed behind all events so far and returns its line.
func (c *Client) AuditHead(ctx context.Context) (string, error) {
	r, err := call[AuditHeadResult](ctx, c, opAuditHead, none{})
	return r.Head, err
}

// AuditTakeKey takes the first key of the audit log out of the server and
// returns it in base64. It is shown this once: also when an error comes with
// it.
func (c *Client) AuditTakeKey(ctx context.Context) (key string, err error) {
	follow := *c
	follow.Line = func(text string) { key = text }
	_, err = call[none](ctx, &follow, opAuditKey, none{})
	return key, err
}
