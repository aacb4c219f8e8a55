package fsys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/lru"
	"github.com/efs-project/efs/internal/record"
	"github.com/efs-project/efs/seal"
)

// pathCacheSize is how many directories' chains are kept.
const pathCacheSize = 1 << 14

// FS is an open file system.
type FS struct {
	o       Options
	log     *slog.Logger
	sealer  *record.Sealer
	names   *record.Names
	ident   []seal.Identity
	policy  atomic.Pointer[efs.Policy]
	created int64 // the root; Unix time, microseconds
	paths   *lru.Cache[string, chain]
	large   *lru.Cache[efs.ID, *dirNames]
	limits  namesLimits
	units   *lru.Cache[efs.ID, *unit]
	unitsKnown
	erasing erasing // what is under way with erasure units

	rolledBack bool // the index was put back from the past, and that accepted

	accounting sync.RWMutex // held for reading by transactions, for writing by who changes quotas
	quotas     atomic.Pointer[quotas]

	policies sync.Mutex            // held by who sets a policy or begins a job
	intended *policyRecord         // whose keys are there already; nil: none
	ending   atomic.Pointer[[]int] // epochs that nothing new is sealed with
	jobs     jobs
	onChange atomic.Pointer[func()]

	usage    usage         // of the algorithms
	removed  atomic.Uint64 // contents deleted from the release queue
	contents contents      // contents in use by this process
	views    views         // that are open
	uploads  uploads       // in parts, that are open
	work     work          // what the background has to do
	anchoring
	auditing
}

// HeadSealer returns what links the changes and seals the heads of file system
// id. An efs.Index needs it to be opened.
func HeadSealer(id efs.ID, keys Keys) (efs.HeadSealer, error) { return newSealer(id, keys) }

func newSealer(id efs.ID, keys Keys) (*record.Sealer, error) {
	root, err := keys.Root("index")
	if err != nil {
		return nil, fmt.Errorf("key of the index: %w", err)
	}
	defer clear(root)
	return record.New(id, root)
}

func newNames(keys Keys) (*record.Names, error) {
	root, err := keys.Root("names")
	if err != nil {
		return nil, fmt.Errorf("key of names: %w", err)
	}
	defer clear(root)
	return record.NewNames(root)
}

// Create makes a file system in an empty index, with a root directory and
// o.Policy, anchors it, and opens it. efs.ErrExists if the index has one.
func Create(ctx context.Context, o Options) (*FS, error) {
	fs, err := assemble(o)
	if err != nil {
		return nil, err
	}
	if err := CheckPolicy(o.Policy); err != nil {
		return nil, err
	}
	fs.policy.Store(&o.Policy)
	t := fs.begin(Who{})
	root := efs.Key{Space: efs.SpacePlaces, Bytes: o.ID[:]}
	t.t.Checks = []efs.Check{{Kind: efs.CheckVersion, Key: root}}
	t.put(efs.SpacePlaces, o.ID[:], place{Created: t.now})
	if o.Policy.ErasureUnit != "" {
		t.put(efs.SpaceMeta, convertedKey(), o.Policy.ErasureUnit)
	}
	t.put(efs.SpaceMeta, policyKey(o.Policy.Version), policyRecord{Policy: o.Policy, Changed: t.now})
	switch _, err := t.commit(ctx); {
	case errors.Is(err, efs.ErrConflict):
		return nil, fmt.Errorf("making file system '%s': %w", o.Name, efs.ErrExists)
	case err != nil:
		return nil, fmt.Errorf("making file system '%s': %w", o.Name, err)
	}
	if err := fs.setAnchor(ctx); err != nil {
		return nil, err
	}
	return fs.start(ctx)
}

// Open opens the file system that is in o.Index.
//
// efs.ErrRolledBack if the index is older than its anchor, or of another
// history, unless o.AcceptRollback; efs.ErrNotFound if there is no file system
// in it; efs.ErrDamaged if its first records do not open.
func Open(ctx context.Context, o Options) (*FS, error) {
	fs, err := assemble(o)
	if err != nil {
		return nil, err
	}
	if err := fs.checkAnchor(ctx); err != nil {
		return nil, err
	}
	return fs.start(ctx)
}

// assemble checks the options and derives the keys of the index.
func assemble(o Options) (*FS, error) {
	if o.ID.IsZero() || o.Index == nil || o.Blobs == nil || o.Keys == nil {
		return nil, fmt.Errorf("%w: a file system needs an id, an index, blobs and keys", efs.ErrBadInput)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.LogLimit == 0 {
		o.LogLimit = DefaultLogLimit
	}
	fs := &FS{
		o: o, log: o.Logger.With("fs", o.Name),
		ident: []seal.Identity{o.Keys.Identity()},
		paths: lru.New[string, chain](pathCacheSize),
		large: lru.New[efs.ID, *dirNames](knownDirs), limits: o.names,
		units: lru.New[efs.ID, *unit](unitCacheSize),
	}
	if fs.limits == (namesLimits{}) {
		fs.limits = defaultNames
	}
	fs.quotas.Store(&quotas{})
	fs.jobs.init()
	fs.contents.init()
	fs.work.init()
	var err error
	if fs.sealer, err = newSealer(o.ID, o.Keys); err != nil {
		return nil, err
	}
	fs.names, err = newNames(o.Keys)
	return fs, err
}

// start reads the root and the policy and begins the background work.
func (fs *FS) start(ctx context.Context) (*FS, error) {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: fs.o.ID[:]})
	if err != nil {
		return nil, err
	}
	if recs[0].Version == 0 {
		return nil, fmt.Errorf("file system '%s': %w: its index has no root", fs.o.Name, efs.ErrNotFound)
	}
	var root place
	if err := fs.open(efs.SpacePlaces, fs.o.ID[:], recs[0].Sealed, &root); err != nil {
		return nil, fmt.Errorf("root of file system '%s': %w", fs.o.Name, err)
	}
	fs.created = root.Created
	policy, err := fs.newestPolicy(ctx)
	if err != nil {
		return nil, err
	}
	fs.policy.Store(&policy)
	for _, load := range []func(context.Context) error{fs.loadQuotas, fs.loadJobs, fs.resumePolicy, fs.resumeRecovery, fs.wantUnits, fs.loadUploads} {
		if err := load(ctx); err != nil {
			return nil, err
		}
	}
	if err := fs.openAudited(ctx); err != nil {
		return nil, err
	}
	leftovers, err := fs.leftovers(ctx)
	if err != nil {
		return nil, err
	}
	fs.work.start(fs, leftovers, fs.now())
	return fs, nil
}

// OnChange has fn called whenever the policy has changed, so that a copy for
// people can be written anew. It replaces what was set before.
func (fs *FS) OnChange(fn func()) { fs.onChange.Store(&fn) }

func (fs *FS) changed() {
	if fn := fs.onChange.Load(); fn != nil {
		(*fn)()
	}
}

// ready is nil while the file system may be used.
func (fs *FS) ready() error {
	if fs.work.closed() {
		return fmt.Errorf("file system '%s' is closed: %w", fs.o.Name, efs.ErrStopped)
	}
	err := fs.o.Keys.Live()
	if err != nil && fs.o.Cache != nil {
		fs.o.Cache.Clear() // what may not be decrypted may not be kept so either
	}
	return err
}

// now is the time of what is written, Unix time in microseconds.
func (fs *FS) now() int64 { return fs.o.Clock().UnixMicro() }

// ID is the file system's id, which is also its root directory's.
func (fs *FS) ID() efs.ID { return fs.o.ID }

// Name is the file system's name.
func (fs *FS) Name() string { return fs.o.Name }

// Policy is the policy that new contents are sealed under.
func (fs *FS) Policy() efs.Policy { return *fs.policy.Load() }

// Usage returns the bytes and files in use, without directories.
func (fs *FS) Usage(ctx context.Context) (efs.Usage, error) { return fs.o.Index.Usage(ctx, fs.o.ID) }

// Head returns the last committed head of the index.
func (fs *FS) Head(ctx context.Context) (efs.Head, error) { return fs.o.Index.Head(ctx) }

// Stats describes the index, for metrics.
func (fs *FS) Stats() efs.IndexStats { return fs.o.Index.Stats() }

// Layout describes the placement of blobs, for people.
func (fs *FS) Layout() efs.Layout { return fs.o.Blobs.Layout() }

// Err is nil, or why nothing can be stored any more until a restart.
func (fs *FS) Err() error { return fs.o.Index.Err() }

// Close ends the background work, waits for it and anchors the head. The
// index, the blobs and the keys stay open: they belong to whoever opened them.
func (fs *FS) Close() error {
	if !fs.work.stop() {
		return nil
	}
	fs.closeAudited()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := fs.setAnchor(ctx)
	if err != nil && fs.o.Keys.Live() != nil {
		// Its KMS is away or refuses. The next start finds an index that is ahead
		// of its anchor, as after a crash.
		fs.log.Warn("closed without anchoring the index, for want of its keys", "err", err)
		return nil
	}
	return err
}

// closeTimeout bounds the last anchoring.
const closeTimeout = 10 * time.Second
