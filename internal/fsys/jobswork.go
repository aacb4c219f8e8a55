package fsys

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// doJobs does the jobs, the oldest first, until the file system is closed. One
// that waits for others, or failed, keeps none back.
func (fs *FS) doJobs() {
	rest := jobRest
	for fs.work.ctx.Err() == nil && fs.o.Index.Err() == nil {
		left, moved := false, false
		for _, j := range fs.jobs.list() {
			if j.info().State.Ended() {
				continue
			}
			done := fs.tryJob(j)
			left, moved = left || !done, moved || done
		}
		if rest = min(2*rest, workEvery); moved || !left {
			rest = jobRest
		}
		var again <-chan time.Time
		if left {
			again = time.After(rest)
		}
		select {
		case <-fs.jobs.more:
			rest = jobRest
		case <-again:
		case <-fs.work.ctx.Done():
		}
	}
}

// jobRest is the pause before a job is tried again, at first; it doubles.
const jobRest = 25 * time.Millisecond

// tryJob goes on with a job, and reports whether it has ended.
func (fs *FS) tryJob(j *job) bool {
	err := fs.doJob(fs.work.ctx, j)
	switch {
	case err == nil:
		return true
	case errors.Is(err, errWaiting), fs.work.ctx.Err() != nil:
		return false
	}
	fs.report("job "+j.rec.Kind, err)
	j.update(func(r *jobRecord) { r.Detail = "will be tried again: " + err.Error() })
	fs.jobs.tell()
	return false
}

// errCanceled ends a job that is canceled; errGivenUp one that cannot be done.
// With errWaiting one waits for others, and is to be tried again.
var (
	errCanceled = errors.New("canceled")
	errGivenUp  = errors.New("given up")
	errWaiting  = errors.New("waiting")
)

// doJob does a job until it has ended. An error means that it is to be tried
// again.
func (fs *FS) doJob(ctx context.Context, j *job) error {
	var err error
	switch j.rec.Kind {
	case JobRetireEpoch:
		err = fs.retireEpoch(ctx, j)
	case JobReseal:
		err = fs.resealAll(ctx, j)
	case JobConvert:
		err = fs.convertUnits(ctx, j)
	default: // of a later version
		err = fmt.Errorf("%w: this version knows no job '%s'", errGivenUp, j.rec.Kind)
	}
	state := JobDone
	switch {
	case errors.Is(err, errCanceled):
		state = JobCanceled
	case errors.Is(err, errGivenUp):
		state = JobFailed
	case err != nil:
		return err
	}
	j.update(func(r *jobRecord) {
		r.State, r.Ended, r.Cursor = state, fs.now(), nil
		if r.Detail = ""; state == JobFailed {
			r.Detail = err.Error()
		}
	})
	fs.log.Info("job ended", "job", j.rec.Kind, "id", j.rec.ID.String(), "state", string(state), "contents", j.info().Files)
	return fs.saveJob(ctx, j)
}
