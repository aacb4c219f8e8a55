package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// Options say of what a journal is kept, and where.
type Options struct {
	Dir      string // made if it is not there
	Key      []byte // copied
	Index    efs.Index
	Interval time.Duration    // after which a checkpoint is made although the logs are short; 0: DefaultInterval
	Logger   *slog.Logger     // nil: nothing is logged
	Clock    func() time.Time // nil: time.Now

	// In tests: how many bytes the volume has for the journal, a pause instead
	// of others, and an error in place of a step ("log", "checkpoint", "rename",
	// "remove").
	Room  func() (int64, error)
	Pause time.Duration
	Fault func(step string) error
	Logs  int64 // bytes of logs that are no reason for a checkpoint; 0: 1 GiB
}

// DefaultInterval is the longest time between two checkpoints of an index that
// is written to.
const DefaultInterval = 24 * time.Hour

const (
	drainEvery = 500 * time.Millisecond // at the latest after a commit
	retryAfter = time.Minute            // after a failure
	leastLogs  = 1 << 30                // bytes of logs that are no reason for a checkpoint
	mostLogs   = 200                    // files
)

// State is what a keeper does.
type State string

// The states of a keeper.
const (
	Current       State = "current"       // the journal leads to the last commit, or is seconds behind
	Checkpointing State = "checkpointing" // what was committed since Behind is in the journal when the checkpoint is
	Paused        State = "paused"        // see Reason; tried again every minute
)

// Status describes a journal that is kept.
type Status struct {
	State      State
	Reason     string    // why it is paused
	Head       efs.Head  // that the journal leads to
	Behind     time.Time // of the oldest commit that it does not have; zero: it has all
	Checkpoint time.Time // when the newest one was made; zero: there is none, or it is of an earlier run
	Bytes      int64     // of all its files
	Made       uint64    // checkpoints since the start
	Gaps       uint64    // times that commits were missed
}

// Keeper writes the journal of an open index.
type Keeper struct {
	o      Options
	key    []byte
	log    *slog.Logger
	tap    *tap
	renew  chan struct{} // a checkpoint is asked for
	stop   func()        // following
	cancel context.CancelFunc
	ctx    context.Context
	done   sync.WaitGroup

	mu     sync.Mutex
	status Status

	// The keeper's goroutine alone:
	current *logFile // nil: none is being written
	at      efs.Head // that the logs lead to
	next    uint64   // number of the next file
	spare   []byte
	gap     bool      // commits are missed until a log is begun anew
	broken  bool      // no checkpoint leads to the logs: one is needed
	since   time.Time // when that began
	logs    int       // with what follows the newest checkpoint
	logged  int64     // bytes in them
	first   uint64    // number of the newest checkpoint, or of the log that needs none
	base    int64     // length of the newest checkpoint; 0: there is none
	based   time.Time // when it was made
	dirty   bool      // something was committed since
	failed  time.Time // the last failure; zero: none, or tried again
	making  chan made // a checkpoint is being made; nil: none
}

// Start begins to follow an index, to keep its journal once Run is called. Whatever
// is wrong with the volume is told by Status and tried again; an error means
// that it cannot even begin (the index is followed already, or closed).
func Start(o Options) (*Keeper, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logs == 0 {
		o.Logs = leastLogs
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Room == nil {
		o.Room = func() (int64, error) { return volumeRoom(o.Dir) }
	}
	if o.Fault == nil {
		o.Fault = func(string) error { return nil }
	}
	k := &Keeper{o: o, key: bytes.Clone(o.Key), log: o.Logger, tap: newTap(o.Clock), renew: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	head, stop, err := o.Index.Follow(k.tap)
	if err != nil {
		return nil, fmt.Errorf("following the index for its journal: %w", err)
	}
	k.stop = stop
	k.tap.start(head)
	k.begin(head)
	return k, nil
}

// Run begins to write. From now on a journal that does not lead to the index is
// replaced. It is called once.
func (k *Keeper) Run() { k.done.Go(k.run) }

// start notes the head that the tap began at, unless a commit came already.
func (t *tap) start(head efs.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.enc.head.Revision <= head.Revision {
		t.enc.head = head
	}
}

// begin looks at what the last run left: whether this one can go on from it.
func (k *Keeper) begin(head efs.Head) {
	k.next, k.based, k.since, k.at = 1, k.o.Clock(), k.o.Clock(), head
	ok, err := k.resume(head)
	k.gap, k.broken = !ok, !ok
	if err != nil {
		k.pause(err)
		return
	}
	k.tell(func(s *Status) {
		if s.State, s.Head = Current, head; !ok {
			s.State, s.Head, s.Behind = Checkpointing, efs.Head{}, k.since
		}
	})
}

// resume reports whether the logs of the last run lead to head.
func (k *Keeper) resume(head efs.Head) (bool, error) {
	if err := atomicfile.MkdirAll(k.o.Dir, 0o700); err != nil {
		return false, err
	}
	if err := removeParts(k.o.Dir); err != nil {
		return false, err
	}
	files, err := list(k.o.Dir)
	if err != nil || len(files) == 0 {
		return head.Revision == 0, err // of an index that is new, the log is all
	}
	k.next = files[len(files)-1].number + 1
	logs, checkpoints := only(files, kindLog), only(files, kindCheckpoint)
	if len(logs) == 0 {
		return false, nil
	}
	var newest file
	if len(checkpoints) > 0 {
		newest = checkpoints[len(checkpoints)-1]
	} else if _, err := fromTheBeginning(logs, k.key); err == nil {
		newest = file{number: 1, path: logs[0].path}
	} else {
		return false, nil
	}
	last := logs[len(logs)-1]
	info, err := os.Stat(newest.path)
	if err != nil {
		return false, err
	}
	k.first, k.base, k.based = newest.number, newest.size, info.ModTime()
	for _, f := range logs {
		if f.number >= newest.number {
			k.logs++
			k.logged += f.size
		}
	}
	if last.number < newest.number || uint64(k.logs) != last.number-newest.number+1 {
		return false, nil
	}
	k.dirty = true
	end, ok, err := lastHead(last.path, k.key)
	return ok && sameHead(end, head), err
}

// removeParts removes checkpoints that were cut off.
func removeParts(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+checkpointSuffix+partSuffix))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// run is the keeper.
func (k *Keeper) run() {
	timer := time.NewTimer(k.pauseOf(time.Second)) // a first look
	defer timer.Stop()
	idle := time.NewTicker(k.pauseOf(retryAfter))
	defer idle.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.tap.some:
			timer.Reset(k.pauseOf(drainEvery)) // to wait for more
			continue
		case <-k.tap.full:
		case <-timer.C:
		case <-idle.C:
			k.look()
		case <-k.renew:
			k.miss(time.Time{})
		case m := <-k.making:
			k.made(m)
		}
		k.drain()
		k.consider()
	}
}

func (k *Keeper) pauseOf(d time.Duration) time.Duration {
	if k.o.Pause != 0 {
		return k.o.Pause
	}
	return d
}

// drain brings what was committed into the log.
func (k *Keeper) drain() {
	if k.gap {
		return
	}
	t := k.tap.take(k.spare)
	k.spare = nil
	if t.gap {
		k.log.Warn("the journal could not keep up with what was stored; it begins again with a checkpoint")
		k.miss(t.since)
		return
	}
	if len(t.items) == 0 {
		return
	}
	if err := k.write(t); err != nil {
		k.miss(t.since)
		k.pause(err)
	}
	if len(t.items) > tapSpare || cap(t.items) <= tapSpare {
		k.spare = t.items[:0]
	}
}

func (k *Keeper) write(t taken) error {
	if err := errors.Join(k.mayTake(int64(len(t.items))), k.o.Fault("log")); err != nil {
		return err
	}
	if k.current == nil {
		if err := k.beginLog(); err != nil {
			return err
		}
	}
	before := k.current.out.written
	if err := k.current.append(t); err != nil {
		return err
	}
	k.logged += k.current.out.written - before
	k.at, k.dirty = t.head, true
	if !k.broken {
		k.tell(func(s *Status) { s.Head = t.head })
	}
	return nil
}

// beginLog makes a log that goes on from k.at.
func (k *Keeper) beginLog() error {
	l, err := createLog(k.o.Dir, k.key, k.next, k.at)
	k.next++ // whatever became of it, its name is taken
	if err != nil {
		return err
	}
	k.current = l
	k.logs++
	return nil
}

// errFull is why a journal is paused on a full volume.
var errFull = errors.New("too little room on its volume: the rest is left to the stores")

func (k *Keeper) mayTake(n int64) error {
	room, err := k.o.Room()
	if err == nil && room < n {
		err = errFull
	}
	return err
}

// miss notes that commits from a time on (zero: now) are not in the logs, and
// will be in the journal only with a checkpoint.
func (k *Keeper) miss(since time.Time) {
	k.tap.refuse()
	if k.gap {
		return
	}
	if since.IsZero() {
		since = k.o.Clock()
	}
	if !k.broken {
		k.since = since
	}
	k.gap, k.broken = true, true
	if k.current != nil {
		_ = k.current.f.Close() // what counts of it was synced
		k.current = nil
	}
	since = k.since
	k.tell(func(s *Status) {
		if s.Gaps++; s.State == Current {
			s.State, s.Behind = Checkpointing, since
		}
	})
}

// pause notes a failure; the next attempt comes after a while.
func (k *Keeper) pause(err error) {
	if k.failed.IsZero() || !errors.Is(err, errFull) {
		k.log.Error("the journal is not written for now", "err", err)
	}
	k.failed = k.o.Clock()
	since := k.since
	k.tell(func(s *Status) { s.State, s.Reason, s.Behind = Paused, err.Error(), since })
}

func (k *Keeper) tell(change func(*Status)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

// Renew has a checkpoint made, on which nothing that is there now has a bearing.
func (k *Keeper) Renew() {
	now := k.o.Clock()
	k.tell(func(s *Status) {
		if s.State == Current {
			s.State, s.Behind = Checkpointing, now
		}
	})
	signal(k.renew)
}

// Status tells how the journal is.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	s := k.status
	k.mu.Unlock()
	if s.Behind.IsZero() {
		s.Behind = k.tap.waiting()
	}
	files, _ := list(k.o.Dir) // a directory that cannot be read is told as a reason
	for _, f := range files {
		s.Bytes += f.size
	}
	return s
}

// Close writes what has been committed and ends the log in order. The index is
// still open.
func (k *Keeper) Close() error {
	k.stop()
	k.cancel()
	k.done.Wait()
	defer clear(k.key)
	if k.making != nil {
		k.made(<-k.making)
	}
	k.drain()
	if err := k.endLog(); err != nil {
		return fmt.Errorf("ending the journal's log: %w", err)
	}
	return nil
}
