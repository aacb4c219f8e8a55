package fsys

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// The kinds of job.
const (
	JobRetireEpoch = "retire-epoch" // seals anew what an epoch's keys sealed, then destroys them
	JobReseal      = "reseal"       // seals anew what was sealed under an older policy
)

// ResealOptions say how contents are sealed anew.
type ResealOptions struct {
	Who
	Rate int64 // bytes a second at most; 0: no bound
}

// RetireEpoch begins a job that seals anew, under the present policy and the
// newest keys, every content that the keys of an epoch sealed; waits until the
// old contents are deleted, which readers and holds may delay; and then
// destroys the keys. It begins a new epoch if that is the newest. Backups of
// contents from before then need a backup of the keys too.
//
// The job is durable on return. efs.ErrNotFound if there is no such epoch,
// efs.ErrExists if it is being retired already, efs.ErrBadInput, and what the
// KMS answers.
func (fs *FS) RetireEpoch(ctx context.Context, epoch int, o ResealOptions) (Job, error) {
	if err := fs.ready(); err != nil {
		return Job{}, err
	}
	if err := o.check(); err != nil {
		return Job{}, err
	}
	fs.policies.Lock() // so that no two jobs are begun at once
	defer fs.policies.Unlock()
	if !fs.hasEpoch(epoch) {
		return Job{}, fmt.Errorf("%w: epoch %d; there are %s", efs.ErrNotFound, epoch, fs.epochNumbers())
	}
	for _, j := range fs.Jobs() {
		if !j.State.Ended() && j.Kind == JobRetireEpoch && j.Epoch == epoch {
			return j, fmt.Errorf("%w: job %s retires epoch %d already", efs.ErrExists, j.ID, epoch)
		}
	}
	if err := fs.succeed(ctx, epoch); err != nil {
		return Job{}, err
	}
	return fs.addJob(ctx, jobRecord{Kind: JobRetireEpoch, Epoch: epoch, User: o.User, Rate: o.Rate})
}

// Reseal begins a job that seals anew, under the present policy, every content
// that was sealed under an older one.
func (fs *FS) Reseal(ctx context.Context, o ResealOptions) (Job, error) {
	if err := fs.ready(); err != nil {
		return Job{}, err
	}
	if err := o.check(); err != nil {
		return Job{}, err
	}
	fs.policies.Lock()
	defer fs.policies.Unlock()
	for _, j := range fs.Jobs() {
		if !j.State.Ended() && j.Kind == JobReseal {
			return j, fmt.Errorf("%w: job %s does so already", efs.ErrExists, j.ID)
		}
	}
	return fs.addJob(ctx, jobRecord{Kind: JobReseal, Policy: fs.Policy().Version, User: o.User, Rate: o.Rate})
}

func (o *ResealOptions) check() error {
	if o.Rate < 0 {
		return fmt.Errorf("%w: a rate of %d bytes a second; 0 for no bound", efs.ErrBadInput, o.Rate)
	}
	return nil
}

func (fs *FS) hasEpoch(epoch int) bool {
	for _, e := range fs.o.Keys.Epochs() {
		if e.Number == epoch {
			return true
		}
	}
	return false
}

func (fs *FS) epochNumbers() string {
	var all []string
	for _, e := range fs.o.Keys.Epochs() {
		all = append(all, fmt.Sprint(e.Number))
	}
	return strings.Join(all, ", ")
}

// sealsWith reports whether new contents are sealed with keys from the sources
// of stages.
func (fs *FS) sealsWith(stages []efs.StagePolicy) bool {
	for _, e := range fs.o.Keys.Epochs() {
		if !e.Newest {
			continue
		}
		var now []efs.StagePolicy
		for _, s := range e.Stages {
			now = append(now, efs.StagePolicy{Provider: s.Provider, KeyID: s.KeyID})
		}
		return sameSources(now, stages)
	}
	return false
}

// succeed makes a newer epoch than the given one, if there is none.
func (fs *FS) succeed(ctx context.Context, epoch int) error {
	if fs.o.Keys.Epoch() != epoch {
		return nil
	}
	_, err := fs.o.Keys.Rotate(ctx)
	return err
}

// retireEpoch does a job of its kind. Each step can be done again, so after a
// restart it begins with the first, or with the wait.
func (fs *FS) retireEpoch(ctx context.Context, j *job) error {
	epoch := j.rec.Epoch
	if !fs.hasEpoch(epoch) {
		return nil // destroyed, which was the last step
	}
	if j.info().State != JobWaiting {
		if err := fs.endEpoch(ctx, epoch); err != nil {
			return err
		}
		if err := fs.resealFiles(ctx, j); err != nil {
			return err
		}
		h, err := fs.Head(ctx)
		if err != nil {
			return err
		}
		j.update(func(r *jobRecord) { r.State, r.Revision, r.Cursor = JobWaiting, h.Revision, nil })
		if err := fs.saveJob(ctx, j); err != nil {
			return err
		}
	}
	if err := fs.awaitReleases(ctx, j); err != nil {
		return err
	}
	return fs.o.Keys.DestroyEpoch(ctx, epoch)
}

// endEpoch has nothing new sealed with the keys of an epoch, but for large
// stores under way. Small ones that are being committed end first; those that
// have only been sealed are refused then, and sealed again.
func (fs *FS) endEpoch(ctx context.Context, epoch int) error {
	if err := fs.succeed(ctx, epoch); err != nil {
		return err
	}
	if err := fs.o.Keys.Retire(ctx, epoch); err != nil {
		return err
	}
	fs.accounting.Lock()
	defer fs.accounting.Unlock()
	if all := fs.ended(); !slices.Contains(all, epoch) {
		all = append(slices.Clone(all), epoch)
		fs.ending.Store(&all)
	}
	return nil
}

// ended returns the epochs that nothing new is sealed with, as far as this
// process has retired them.
func (fs *FS) ended() []int {
	if all := fs.ending.Load(); all != nil {
		return *all
	}
	return nil
}

// awaitReleases returns errWaiting until everything that was released up to
// the job's revision is deleted.
func (fs *FS) awaitReleases(ctx context.Context, j *job) error {
	if j.canceled() {
		return errCanceled
	}
	queue, err := fs.o.Index.Queued(ctx, efs.Release{}, 1)
	if err != nil {
		return err
	}
	if len(queue) == 0 || queue[0].Revision > j.rec.Revision {
		return nil
	}
	fs.kickReleases()
	why, err := fs.holders(ctx)
	if err != nil {
		return err
	}
	j.update(func(r *jobRecord) { r.Detail = "replaced contents are still kept by " + why })
	fs.jobs.tell()
	return errWaiting
}

// holders says what may keep released contents from being deleted.
func (fs *FS) holders(ctx context.Context) (string, error) {
	marks, err := fs.o.Index.Marks(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range marks {
		if m.Kind == efs.MarkHold {
			names = append(names, "hold '"+m.Name+"'")
		}
	}
	if slices.Sort(names); len(names) == 0 {
		return "readers", nil
	}
	return strings.Join(names, ", "), nil
}

// resealAll does a job of kind JobReseal.
func (fs *FS) resealAll(ctx context.Context, j *job) error {
	policy := fs.Policy().Version // there may be a newer one than was asked for
	j.update(func(r *jobRecord) { r.Policy = policy })
	return fs.resealFiles(ctx, j)
}
