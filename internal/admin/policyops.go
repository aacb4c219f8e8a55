package admin

import (
	"context"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/policyset"
)

// The operations on how a file system seals and on how much it takes.
const (
	opPolicy      = "show-policy"
	opSetPolicy   = "set-policy"
	opQuotas      = "list-quotas"
	opSetQuota    = "set-quota"
	opRetireEpoch = "retire-epoch"
	opReseal      = "reseal"
	opJobs        = "list-jobs"
	opWaitJob     = "show-job-end"
	opCancelJob   = "cancel-job"
)

// SetPolicyRequest changes the policy of a file system.
type SetPolicyRequest struct {
	FS  string   `json:"fs"`
	Set []string `json:"set"` // KEY=VALUE, in order
}

// PolicyVersion is a policy and what it changed.
type PolicyVersion struct {
	Version int        `json:"version"`
	Changed time.Time  `json:"changed"`
	User    string     `json:"user,omitempty"` // "": an administrator of the server
	What    []string   `json:"what"`           // it changed; empty for the first one
	Policy  efs.Policy `json:"policy"`
}

// SetQuotaRequest changes a quota. What is nil stays; 0 takes a bound away.
type SetQuotaRequest struct {
	FS       string `json:"fs"`
	User     string `json:"user,omitempty"` // "": the whole file system
	MaxBytes *int64 `json:"max_bytes,omitempty"`
	MaxFiles *int64 `json:"max_files,omitempty"`
}

// ResealRequest asks for contents to be sealed anew.
type ResealRequest struct {
	FS    string `json:"fs"`
	Epoch int    `json:"epoch,omitempty"` // to retire
	Rate  int64  `json:"rate,omitempty"`  // bytes a second; 0: no bound
}

// JobRequest names a job.
type JobRequest struct {
	FS string `json:"fs"`
	ID efs.ID `json:"id"`
}

// policyHistory returns all policies of a file system, the one in force last.
func policyHistory(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	all, err := f.PolicyHistory(ctx)
	if err != nil {
		return nil, err
	}
	history := make([]PolicyVersion, len(all))
	for i := range all {
		p := &all[i]
		history[i] = PolicyVersion{Version: p.Version, Changed: p.Changed, User: p.User, What: []string{}, Policy: p.Policy}
		if i > 0 {
			history[i].What = policyset.Diff(all[i-1].Policy, p.Policy)
		}
	}
	return history, nil
}

func setPolicy(ctx context.Context, s *Server, _ *stream, r SetPolicyRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	p, err := policyset.Apply(f.Policy(), r.Set)
	if err != nil {
		return nil, err
	}
	return f.SetPolicy(ctx, fsys.Who{}, p)
}

func quotas(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.Quotas(ctx)
}

// setQuota bounds only users there are, so that a mistyped name is noticed;
// bounds of deleted users can be taken away.
func setQuota(ctx context.Context, s *Server, _ *stream, r SetQuotaRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	bounds := func(n *int64) bool { return n != nil && *n > 0 }
	if r.User != "" && (bounds(r.MaxBytes) || bounds(r.MaxFiles)) {
		if _, err := f.Users.GetUser(ctx, r.User); err != nil {
			return nil, err
		}
	}
	return f.SetQuota(ctx, fsys.Who{}, fsys.QuotaChange{User: r.User, MaxBytes: r.MaxBytes, MaxFiles: r.MaxFiles})
}

func retireEpoch(ctx context.Context, s *Server, _ *stream, r ResealRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.RetireEpoch(ctx, r.Epoch, fsys.ResealOptions{Rate: r.Rate})
}

func reseal(ctx context.Context, s *Server, _ *stream, r ResealRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.Reseal(ctx, fsys.ResealOptions{Rate: r.Rate})
}

func jobs(_ context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.Jobs(), nil
}

// waitJob tells progress until a job has ended. That the caller goes away does
// not end the job.
func waitJob(ctx context.Context, s *Server, out *stream, r JobRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.WaitJob(ctx, r.ID, func(j fsys.Job) { out.progress(j.Done, j.Total) })
}

func cancelJob(_ context.Context, s *Server, _ *stream, r JobRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, f.CancelJob(r.ID)
}

// PolicyHistory returns all policies of a file system, the one in force last.
func (c *Client) PolicyHistory(ctx context.Context, fs string) ([]PolicyVersion, error) {
	return call[[]PolicyVersion](ctx, c, opPolicy, FSRequest{FS: fs})
}

// SetPolicy changes the policy of a file system and returns what it came to.
func (c *Client) SetPolicy(ctx context.Context, fs string, set []string) (efs.Policy, error) {
	return call[efs.Policy](ctx, c, opSetPolicy, SetPolicyRequest{FS: fs, Set: set})
}

// Quotas returns the quota of a file system and those of its users.
func (c *Client) Quotas(ctx context.Context, fs string) ([]fsys.QuotaState, error) {
	return call[[]fsys.QuotaState](ctx, c, opQuotas, FSRequest{FS: fs})
}

// SetQuota changes a quota and returns what it came to.
func (c *Client) SetQuota(ctx context.Context, r SetQuotaRequest) (fsys.QuotaState, error) {
	return call[fsys.QuotaState](ctx, c, opSetQuota, r)
}

// RetireEpoch begins to seal anew what an epoch's keys sealed, to destroy them.
func (c *Client) RetireEpoch(ctx context.Context, r ResealRequest) (fsys.Job, error) {
	return call[fsys.Job](ctx, c, opRetireEpoch, r)
}

// Reseal begins to seal anew what was sealed under an older policy.
func (c *Client) Reseal(ctx context.Context, r ResealRequest) (fsys.Job, error) {
	return call[fsys.Job](ctx, c, opReseal, r)
}

// Jobs returns the jobs of a file system, oldest first.
func (c *Client) Jobs(ctx context.Context, fs string) ([]fsys.Job, error) {
	return call[[]fsys.Job](ctx, c, opJobs, FSRequest{FS: fs})
}

// WaitJob returns when a job has ended.
func (c *Client) WaitJob(ctx context.Context, fs string, id efs.ID) (fsys.Job, error) {
	return call[fsys.Job](ctx, c, opWaitJob, JobRequest{FS: fs, ID: id})
}

// CancelJob ends a job where it is.
func (c *Client) CancelJob(ctx context.Context, fs string, id efs.ID) error {
	_, err := call[none](ctx, c, opCancelJob, JobRequest{FS: fs, ID: id})
	return err
}
