package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/session"
	"github.com/efs-project/efs/internal/starter"
)

// State is what a node can do at present.
type State string

// The states of a node.
const (
	StateWaiting State = "waiting" // empty root, no starter key: Init
	StateSealed  State = "sealed"  // initialised root, no starter key: Unseal
	StateReady   State = "ready"   // serving
	StateStopped State = "stopped" // closed
)

// WaitingHint is what a server without a key writes into its log.
const WaitingHint = "Use `docker exec efs-server efsctl` to perform commands."

// Node is an open root. Its methods are safe for concurrent use.
type Node struct {
	cfg      Config
	log      *slog.Logger
	clock    func() time.Time
	instance efs.ID
	started  time.Time
	lock     *os.File

	auditKeep atomic.Int64 // AuditConfig.Keep, as it is now

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // what runs on ctx

	admin    sync.Mutex             // held by whatever changes state or file systems
	kmsSays  atomic.Pointer[string] // why a KMS does not give the starter key; nil: it was not asked in vain
	gathered gathering              // shares of the starter key, while the root is sealed
	reopen   chan struct{}          // holds one where file systems are to be tried again

	mu       sync.RWMutex // guards what follows
	state    State
	vault    *vault
	failed   map[string]error // file systems that could not be opened, and why
	problems []string         // what did not fit at start

	open    atomic.Pointer[map[string]*FileSystem] // by name; replaced, never changed
	kmsHook atomic.Pointer[KMSObserver]
	hooks   atomic.Pointer[[]func(fs, user string)]
}

// New opens the root of cfg: it locks it, and with a starter key initialises
// an empty root or opens an initialised one. Errors: efs.ErrUnavailable
// (another server runs on the root), efs.ErrWrongKey, efs.ErrExists (sealed
// data is there that the key cannot belong to), efs.ErrDamaged.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Logger, clock: cfg.Clock, instance: efs.NewID(), failed: map[string]error{}, reopen: make(chan struct{}, 1)}
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.clock == nil {
		n.clock = time.Now
	}
	n.started = n.clock()
	n.auditKeep.Store(int64(cfg.Audit.Keep))
	n.open.Store(&map[string]*FileSystem{})
	n.hooks.Store(&[]func(string, string){})
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.start(ctx); err != nil {
		n.destroyKey()
		n.cancel()
		if n.lock != nil {
			n.lock.Close()
		}
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.cfg.prepare(); err != nil {
		return err
	}
	var err error
	if n.lock, err = n.cfg.lockRoot(); err != nil {
		return err
	}
	if err := n.cfg.beginWithKeys(); err != nil {
		return fmt.Errorf("root %s: %w", n.cfg.Root, err)
	}
	initialised, err := starter.BoxState(n.cfg.serverDir())
	if err != nil {
		return fmt.Errorf("root %s: %w", n.cfg.Root, err)
	}
	n.state = StateWaiting
	if initialised {
		n.state = StateSealed
	}
	if n.cfg.Key == nil && initialised && n.cfg.StarterKMS != "" {
		n.log.Info("asking the KMS for the starter key", "kms", n.cfg.StarterKMS)
		n.run(n.unsealByKMS)
		return nil
	}
	if n.cfg.Key == nil {
		n.log.Info(WaitingHint, "state", n.state, "do", map[State]string{StateWaiting: "efsctl init", StateSealed: "efsctl unseal"}[n.state])
		return nil
	}
	found := n.cfg.Key
	n.cfg.Key = nil // the Box owns it, or destroy it here
	n.log.Info("starter key found", "from", found.From)
	return n.unlock(ctx, found)
}

// unlock opens or makes the Box with a starter key, which it takes over, and
// brings the node into service.
func (n *Node) unlock(ctx context.Context, key *starter.Found) error {
	var box *starter.Box
	var err error
	if n.State() == StateWaiting {
		root := key.Root
		if root.IsZero() {
			root = efs.NewID()
		}
		box, err = starter.CreateBoxAs(n.cfg.serverDir(), root, key.Key, key.KDF)
	} else {
		box, err = starter.OpenBox(n.cfg.serverDir(), key.Key)
	}
	if err != nil {
		key.Key.Destroy()
		return fmt.Errorf("root %s: %w", n.cfg.Root, err)
	}
	n.setState(StateSealed) // from here on the root is initialised, whatever follows
	var v *vault
	if err = n.takePendingKeys(box); err == nil {
		v, err = n.openVault(box)
	}
	if err != nil {
		box.Close()
		return fmt.Errorf("root %s: %w", n.cfg.Root, err)
	}
	problems := v.tls.export()
	n.mu.Lock()
	n.vault = v
	n.mu.Unlock()
	n.settle(ctx)
	n.openAll(ctx)
	problems = append(problems, n.planted()...)
	n.mu.Lock()
	n.problems = problems
	n.mu.Unlock()
	for _, p := range problems {
		n.log.Warn("found at start: " + p)
	}
	n.run(func(ctx context.Context) {
		v.tls.watch(ctx, func(what string, err error) { n.log.Error(what, "err", err) })
	})
	n.run(n.watchFailed)
	n.run(n.resumeRewraps)
	n.recordStart(key.From)
	n.setState(StateReady)
	n.log.Info("ready", "root", n.cfg.Root, "filesystems", len(*n.open.Load()), "instance", n.instance,
		"certificate_sha256", n.Fingerprint())
	return nil
}

// destroyKey wipes a starter key that was not handed on.
func (n *Node) destroyKey() {
	if n.cfg.Key != nil {
		n.cfg.Key.Key.Destroy()
		n.cfg.Key = nil
	}
}

// Init makes a starter key for an empty root, hands its base64 form to show,
// which must not keep it, exactly once, and brings the node into service. Nothing is sealed before
// show has returned nil, so that a key that nobody saw seals nothing. Errors:
// efs.ErrExists if the root is initialised already.
func (n *Node) Init(ctx context.Context, show func(starterKey []byte) error) error {
	return n.InitAs(ctx, StarterForm{}, func(lines [][]byte) error { return show(lines[0]) })
}

// InitAs is Init for a starter key in another form: show is handed its shares.
// efs.ErrBadInput.
func (n *Node) InitAs(ctx context.Context, f StarterForm, show func(lines [][]byte) error) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	switch n.State() {
	case StateWaiting:
	case StateSealed:
		return fmt.Errorf("the starter key of this root %w: open it with `efsctl unseal` and that key", efs.ErrExists)
	default:
		return fmt.Errorf("the starter key of this root %w: it is initialised and in service", efs.ErrExists)
	}
	if err := f.check(); err != nil {
		return err
	}
	root := efs.NewID()
	lines, key, err := n.newStarter(f, root, 1)
	if err != nil {
		return err
	}
	defer secret.WipeAll(lines)
	if err = n.keepStarter(ctx, key, root, 1); err == nil && len(lines) > 0 {
		if err = show(lines); err != nil {
			err = fmt.Errorf("showing the starter key: %w", err)
		}
	}
	if err != nil {
		key.Destroy()
		return err
	}
	return n.unlock(context.WithoutCancel(ctx), &starter.Found{Key: key, From: "efsctl init", Root: root})
}

// Unseal opens a sealed root with its starter key in base64. Errors:
// efs.ErrBadInput (no such key), efs.ErrWrongKey, efs.ErrNotFound (the root
// was never initialised), efs.ErrRefused (it is open).
func (n *Node) Unseal(ctx context.Context, text []byte) error {
	return n.unseal(ctx, func() (*starter.Found, error) {
		key, err := starter.Parse(text)
		return &starter.Found{Key: key, From: "efsctl unseal"}, err
	})
}

// UnsealPassphrase is Unseal for a root that was initialised with a
// passphrase, which is wiped.
func (n *Node) UnsealPassphrase(ctx context.Context, pass []byte) error {
	return n.unseal(ctx, func() (*starter.Found, error) {
		key, err := starter.FromPassphrase(n.cfg.serverDir(), pass)
		return &starter.Found{Key: key, From: "efsctl unseal"}, err
	})
}

func (n *Node) unseal(ctx context.Context, find func() (*starter.Found, error)) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.mustBeSealed(); err != nil {
		return err
	}
	key, err := find()
	if err != nil {
		return err
	}
	return n.unlock(context.WithoutCancel(ctx), key)
}

// State returns the node's present state.
func (n *Node) State() State {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.state
}

func (n *Node) setState(s State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = s
}

// Instance is the random id of this start of the server.
func (n *Node) Instance() efs.ID { return n.instance }

// Sessions returns the session manager, or nil while the node is not ready.
func (n *Node) Sessions() *session.Manager {
	if v := n.secrets(); v != nil {
		return v.sessions
	}
	return nil
}

// FS returns an open file system. Errors: efs.ErrSealed while the node is not
// ready, efs.ErrNotFound, or why the file system could not be opened.
func (n *Node) FS(name string) (*FileSystem, error) {
	if f := (*n.open.Load())[name]; f != nil {
		return f, nil
	}
	if err := n.Serving(); err != nil {
		return nil, err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if err := n.failed[name]; err != nil {
		return nil, fmt.Errorf("file system %q is not open: %w", name, err)
	}
	return nil, fmt.Errorf("file system %q: %w", name, efs.ErrNotFound)
}

// FileSystems returns the open file systems by name.
func (n *Node) FileSystems() []*FileSystem {
	open := *n.open.Load()
	out := make([]*FileSystem, 0, len(open))
	for _, name := range slices.Sorted(maps.Keys(open)) {
		out = append(out, open[name])
	}
	return out
}

// OnAccessChange calls fn after anything changed about who may use a file
// system: user is "" when it concerns all of its users. fn must not block.
func (n *Node) OnAccessChange(fn func(fs, user string)) {
	for {
		old := n.hooks.Load()
		next := append(slices.Clone(*old), fn)
		if n.hooks.CompareAndSwap(old, &next) {
			return
		}
	}
}

func (n *Node) accessChanged(fs, user string) {
	for _, fn := range *n.hooks.Load() {
		fn(fs, user)
	}
}

// Certificate returns the server's certificate as it is now. efs.ErrSealed
// while the node is not ready: its key is among what is sealed.
func (n *Node) Certificate() (*tls.Certificate, error) {
	v := n.secrets()
	if v == nil {
		return nil, fmt.Errorf("the server's certificate: %w", efs.ErrSealed)
	}
	return v.tls.current.Load(), nil
}

// Fingerprint returns the SHA-256 of the server's certificate in hex, "" while
// the node is not ready.
func (n *Node) Fingerprint() string {
	cert, err := n.Certificate()
	if err != nil {
		return ""
	}
	return pki.Fingerprint(cert.Leaf)
}

// ServerCA returns the PEM certificate that clients are to trust.
func (n *Node) ServerCA() ([]byte, error) {
	v := n.secrets()
	if v == nil {
		return nil, fmt.Errorf("the server's certificate authority: %w", efs.ErrSealed)
	}
	return v.tls.caPEM(), nil
}

func (n *Node) secrets() *vault {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.vault
}

// Ready reports whether the node serves, and if not, or not all of it, why.
// A file system that failed to open, or whose KMS refuses its keys or is away,
// leaves the others in service, so it is a reason but does not make the node
// unready as long as another one serves: else whoever disables a key of one's own
// would take everybody's server out of service. One that stopped after a failed
// write does, as a restart is what helps.
func (n *Node) Ready() (ok bool, reasons []string) {
	state := n.State()
	if state != StateReady {
		return false, []string{map[State]string{
			StateWaiting: "waiting for a starter key: efsctl init",
			StateSealed:  "sealed: efsctl unseal" + n.shareProgress() + n.kmsTrouble(),
			StateStopped: "stopped",
		}[state]}
	}
	ok = true
	n.mu.RLock()
	for _, name := range slices.Sorted(maps.Keys(n.failed)) {
		reasons = append(reasons, fmt.Sprintf("file system %s is not open: %v", name, n.failed[name]))
	}
	n.mu.RUnlock()
	reasons = append(reasons, n.awayKMSs()...)
	keyless := 0
	all := n.FileSystems()
	for _, f := range all {
		if err := f.Err(); err != nil {
			ok = false
			reasons = append(reasons, fmt.Sprintf("file system %s: %v: restart the server", f.Name(), err))
		}
		if err := f.parts.keys.Live(); err != nil {
			keyless++
			reasons = append(reasons, fmt.Sprintf("keys of file system %s: %v", f.Name(), err))
		}
	}
	return ok && (keyless == 0 || keyless < len(all)), reasons
}

// run starts fn on the node's context; Close waits for it.
func (n *Node) run(fn func(context.Context)) {
	n.tasks.Add(1)
	go func() {
		defer n.tasks.Done()
		fn(n.ctx)
	}()
}

// Close ends all sessions' use, closes every file system and wipes the keys.
// Requests should have ended before. Closing twice is no error.
func (n *Node) Close() error {
	n.admin.Lock()
	defer n.admin.Unlock()
	if n.State() == StateStopped {
		return nil
	}
	n.setState(StateStopped)
	n.record("server.stop", audit.Ok, "", "")
	n.cancel()
	n.tasks.Wait()
	var errs []error
	for _, f := range n.FileSystems() {
		errs = append(errs, f.close())
	}
	n.open.Store(&map[string]*FileSystem{})
	n.mu.Lock()
	v := n.vault
	n.vault = nil
	n.mu.Unlock()
	if v != nil {
		errs = append(errs, v.close())
	}
	errs = append(errs, n.lock.Close())
	return errors.Join(errs...)
}
