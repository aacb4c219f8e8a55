package fsys

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// metaJob begins the keys in SpaceMeta of jobs, followed by the job's id.
const metaJob = 'j'

func jobKey(id efs.ID) []byte { return append([]byte{metaJob}, id[:]...) }

// JobState is how far a job is.
type JobState string

// The states of a job. The last three are final.
const (
	JobQueued   JobState = "queued"  // others come first
	JobRunning  JobState = "running" //
	JobWaiting  JobState = "waiting" // for others to let go of what it replaced
	JobDone     JobState = "done"
	JobFailed   JobState = "failed"
	JobCanceled JobState = "canceled"
)

// Ended reports whether nothing more happens in this state.
func (s JobState) Ended() bool { return s == JobDone || s == JobFailed || s == JobCanceled }

// Job is a long piece of work on a file system, done in the background while
// clients read and write, and gone on with after a restart.
type Job struct {
	ID       efs.ID    `json:"id"`
	Kind     string    `json:"kind"` // JobRetireEpoch, JobReseal, JobConvert
	State    JobState  `json:"state"`
	Epoch    int       `json:"epoch,omitempty"`  // that is retired
	Policy   int       `json:"policy,omitempty"` // version that contents are brought to
	User     string    `json:"user,omitempty"`   // who asked for it; "": an administrator of the server
	Rate     int64     `json:"rate,omitempty"`   // bytes a second at most; 0: no bound
	Pass     int       `json:"pass"`             // over all files: the last one finds nothing to do
	Done     int64     `json:"done"`             // files looked at in this pass
	Total    int64     `json:"total"`            // files there are
	Files    int64     `json:"files"`            // contents sealed anew
	Bytes    int64     `json:"bytes"`            // in them
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Detail   string    `json:"detail,omitempty"` // what it waits for, or why it failed
	Problems int64     `json:"problems,omitempty"`
}

// jobRecord is a job as it is kept, with what it needs to be gone on with.
type jobRecord struct {
	ID       efs.ID   `cbor:"1,keyasint"`
	Kind     string   `cbor:"2,keyasint"`
	State    JobState `cbor:"3,keyasint"`
	Epoch    int      `cbor:"4,keyasint,omitempty"`
	Policy   int      `cbor:"5,keyasint,omitempty"`
	User     string   `cbor:"6,keyasint,omitempty"`
	Rate     int64    `cbor:"7,keyasint,omitempty"`
	Pass     int      `cbor:"8,keyasint,omitempty"`
	Done     int64    `cbor:"9,keyasint,omitempty"`
	Files    int64    `cbor:"10,keyasint,omitempty"`
	Bytes    int64    `cbor:"11,keyasint,omitempty"`
	Started  int64    `cbor:"12,keyasint"` // Unix time, microseconds
	Ended    int64    `cbor:"13,keyasint,omitempty"`
	Detail   string   `cbor:"14,keyasint,omitempty"`
	Problems int64    `cbor:"15,keyasint,omitempty"`
	Cursor   []byte   `cbor:"16,keyasint,omitempty"` // the last entry that this pass has looked at
	Found    int64    `cbor:"17,keyasint,omitempty"` // files that this pass found in need
	Quiet    bool     `cbor:"18,keyasint,omitempty"` // when this pass began, no store from before the job was under way
	Revision uint64   `cbor:"19,keyasint,omitempty"` // by which all that it replaced was released
}

// job is a job in this process. Its record belongs to the worker, but for
// reading under mu.
type job struct {
	mu     sync.Mutex
	rec    jobRecord
	total  int64
	cancel bool

	uploads []efs.ID // that it waits for; of the worker
	listed  bool     // they are all of them
}

func (j *job) update(fn func(r *jobRecord)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fn(&j.rec)
}

func (j *job) canceled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cancel
}

func (j *job) info() Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.rec
	info := Job{
		ID: r.ID, Kind: r.Kind, State: r.State, Epoch: r.Epoch, Policy: r.Policy, User: r.User, Rate: r.Rate,
		Pass: r.Pass, Done: r.Done, Total: max(j.total, r.Done), Files: r.Files, Bytes: r.Bytes,
		Started: time.UnixMicro(r.Started).UTC(), Detail: r.Detail, Problems: r.Problems,
	}
	if r.Ended != 0 {
		info.Ended = time.UnixMicro(r.Ended).UTC()
	}
	return info
}

// jobs are the jobs of a file system, oldest first.
type jobs struct {
	mu    sync.Mutex
	all   []*job
	more  kicked        // there is one to be done
	moved chan struct{} // closed and made anew when a job comes further
}

func (js *jobs) init() { js.more, js.moved = make(kicked, 1), make(chan struct{}) }

func (js *jobs) list() []*job {
	js.mu.Lock()
	defer js.mu.Unlock()
	return slices.Clone(js.all)
}

// tell wakes who waits for jobs.
func (js *jobs) tell() {
	js.mu.Lock()
	defer js.mu.Unlock()
	close(js.moved)
	js.moved = make(chan struct{})
}

func (js *jobs) change() <-chan struct{} {
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.moved
}

// Jobs describes the jobs of the file system, oldest first: those that are not
// done, and the last that are.
func (fs *FS) Jobs() []Job {
	infos := []Job{}
	for _, j := range fs.jobs.list() {
		infos = append(infos, j.info())
	}
	return infos
}

func (fs *FS) job(id efs.ID) (*job, error) {
	for _, j := range fs.jobs.list() {
		if j.rec.ID == id { // never changed
			return j, nil
		}
	}
	return nil, fmt.Errorf("%w: job %s", efs.ErrNotFound, id)
}

// WaitJob calls progress, which may be nil, whenever the job comes further,
// and returns when it has ended. efs.ErrNotFound, the error of ctx, or
// efs.ErrStopped when the file system is closed before.
func (fs *FS) WaitJob(ctx context.Context, id efs.ID, progress func(Job)) (Job, error) {
	j, err := fs.job(id)
	if err != nil {
		return Job{}, err
	}
	for {
		moved := fs.jobs.change() // before it is looked at, so that nothing is missed
		info := j.info()
		if progress != nil {
			progress(info)
		}
		if info.State.Ended() {
			return info, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return info, ctx.Err()
		case <-fs.work.ctx.Done():
			return info, fs.ready()
		}
	}
}

// CancelJob ends a job where it is. What it has done stays done.
// efs.ErrNotFound, efs.ErrConflict if it has ended.
func (fs *FS) CancelJob(id efs.ID) error {
	j, err := fs.job(id)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rec.State.Ended() {
		return fmt.Errorf("%w: job %s has ended: %s", efs.ErrConflict, id, j.rec.State)
	}
	j.cancel = true
	fs.jobs.more.kick()
	return nil
}

// keptJobs is how many ended jobs are remembered.
const keptJobs = 16

// addJob begins a job, durably.
func (fs *FS) addJob(ctx context.Context, rec jobRecord) (Job, error) {
	rec.ID, rec.State, rec.Started = efs.NewTimeID(), JobQueued, fs.now()
	t := fs.begin(Who{User: rec.User})
	t.put(efs.SpaceMeta, jobKey(rec.ID), &rec)
	fs.jobs.mu.Lock()
	var kept []*job
	ended := 0
	for _, j := range slices.Backward(fs.jobs.all) {
		if j.info().State.Ended() {
			if ended++; ended > keptJobs {
				t.delete(efs.SpaceMeta, jobKey(j.rec.ID))
				continue
			}
		}
		kept = append(kept, j)
	}
	slices.Reverse(kept)
	fs.jobs.mu.Unlock()
	t.change(&efs.Change{Op: efs.OpAccess, Path: "job/" + rec.Kind})
	if _, err := t.commit(ctx); err != nil {
		return Job{}, err
	}
	j := &job{rec: rec}
	fs.jobs.mu.Lock()
	fs.jobs.all = append(kept, j)
	fs.jobs.mu.Unlock()
	fs.jobs.more.kick()
	return j.info(), nil
}

// saveJob makes durable how far a job is.
func (fs *FS) saveJob(ctx context.Context, j *job) error {
	t := fs.begin(Who{})
	j.mu.Lock()
	t.put(efs.SpaceMeta, jobKey(j.rec.ID), &j.rec)
	j.mu.Unlock()
	_, err := t.commit(ctx)
	fs.jobs.tell()
	return err
}

// loadJobs reads the jobs when the file system is opened.
func (fs *FS) loadJobs(ctx context.Context) error {
	err := fs.scan(ctx, efs.SpaceMeta, []byte{metaJob}, scanPage, func(r *efs.Record) error {
		j := new(job)
		if err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &j.rec); err != nil {
			return fmt.Errorf("job record: %w", err)
		}
		fs.jobs.all = append(fs.jobs.all, j)
		return nil
	})
	slices.SortStableFunc(fs.jobs.all, func(a, b *job) int { return cmp.Compare(a.rec.Started, b.rec.Started) })
	return err
}
