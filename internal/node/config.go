// Package node opens a root and keeps what runs on it: the starter key's
// secrets, the keyring, the file systems, the sessions, the server's
// certificate. The HTTPS server and the administration both work on a Node.
//
// A node is in one of three states. On an empty root without a starter key it
// is waiting for Init; on an initialised root without a key it is sealed and
// waits for Unseal; else it is ready. Which file systems there are is told by
// a record sealed under the starter key, never by what directories exist, so
// that writing to a volume adds none. A file system that cannot be opened is
// reported with its reason and does not stop the others.
package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/contentcache"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/internal/tracing"
	"golang.org/x/sys/unix"
)

// Config says on what root a node runs and how.
type Config struct {
	Root    string
	Storage Storage

	// Key is the starter key with which to initialise or open the root; nil
	// leaves the node waiting or sealed. The node owns it.
	Key *starter.Found

	// StarterKMS, PROVIDER/KEY of Providers, keeps the starter key: `efsctl init`
	// has it wrapped, and a start asks for it where Key is nil. "": nobody does.
	StarterKMS string

	// Providers are the KMSs besides the local one, by the name that policies
	// use. Whoever opened them closes them, after the node.
	Providers map[string]efs.KMS
	KMS       KMSConfig

	// Cache keeps decrypted files; nil: none are kept. Whoever opened it closes
	// it, after the node.
	Cache *contentcache.Cache

	Audit AuditConfig

	Journal JournalConfig

	// Tracer makes traces of requests and of calls of KMSs; nil: there are none.
	// Whoever opened it closes it, after the node.
	Tracer *tracing.Tracer

	Hostnames      []string         // in the server's own certificate, besides the usual
	TLSCert        string           // PEM file given instead of the server's own certificate
	TLSKey         string           // PEM file of its key
	AcceptRollback []string         // file systems to open although their index is older than its anchor
	Logger         *slog.Logger     // nil: slog.Default()
	Clock          func() time.Time // nil: time.Now
}

// KMSConfig says how long what a KMS unwrapped is kept, and how long a KMS may
// take. Zero fields take the defaults of keyring.Options.
type KMSConfig struct {
	KeyTTL      time.Duration // hard lifetime of an unwrapped key
	OutageGrace time.Duration // how much longer it lives while its KMS does not answer
	Timeout     time.Duration // of one call

	// DeletionWait is how long a master key that is to be deleted is kept where
	// nobody says how long; 0: seven days.
	DeletionWait time.Duration

	// Observe is told of every call of a KMS: the provider, the method, what
	// came of it (see guard.Options) and how long it took. nil: nobody is told.
	Observe func(provider, op, outcome string, took time.Duration)
}

// Storage moves parts of the root to volumes of their own. An empty directory
// stands for the root. A named one must exist: a volume that is not mounted
// is not to be mistaken for an empty one.
type Storage struct {
	System string // holds NAME/system
	Keys   string // holds keys.db
	Index  string // holds NAME/index.db
	Files  string // holds NAME/files
}

// serverDir is the directory of the server itself below the root.
const serverDir = ".server"

// places are the directories of one file system.
type places struct {
	home   string // ROOT/NAME
	system string // exports, and the index unless it lies elsewhere
	index  string // the index's file
	files  string // contents
}

func (c *Config) places(name string) places {
	p := places{home: filepath.Join(c.Root, name)}
	p.system = filepath.Join(or(c.Storage.System, c.Root), name, "system")
	p.files = filepath.Join(or(c.Storage.Files, c.Root), name, "files")
	p.index = filepath.Join(p.system, "index.db")
	if c.Storage.Index != "" {
		p.index = filepath.Join(c.Storage.Index, name, "index.db")
	}
	return p
}

// tops returns the directories NAME that belong to a file system, each once.
func (p places) tops() []string {
	tops := []string{p.home}
	for _, dir := range []string{filepath.Dir(p.system), filepath.Dir(p.files), filepath.Dir(p.index)} {
		known := dir == p.system
		for _, t := range tops {
			known = known || t == dir
		}
		if !known {
			tops = append(tops, dir)
		}
	}
	return tops
}

func (c *Config) keysPath() string {
	return filepath.Join(or(c.Storage.Keys, c.serverDir()), "keys.db")
}

func (c *Config) serverDir() string { return filepath.Join(c.Root, serverDir) }

// prepare makes the root where it is missing, and refuses volumes that cannot
// hold what they are to hold.
func (c *Config) prepare() error {
	if !filepath.IsAbs(c.Root) {
		return fmt.Errorf("root %q is not an absolute path: %w", c.Root, efs.ErrBadInput)
	}
	if err := os.MkdirAll(c.serverDir(), 0o700); err != nil {
		return fmt.Errorf("making the root: %w", err)
	}
	for _, dir := range []string{c.Storage.System, c.Storage.Keys, c.Storage.Index, c.Storage.Files} {
		if dir == "" {
			continue
		}
		info, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("storage directory %s does not exist: mount its volume or make it: %w", dir, efs.ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("storage directory: %w", err)
		}
		if !info.IsDir() {
			return fmt.Errorf("storage directory %s is not a directory: %w", dir, efs.ErrBadInput)
		}
	}
	if err := refuseNetwork("keys", or(c.Storage.Keys, c.serverDir())); err != nil {
		return err
	}
	return refuseNetwork("index", or(c.Storage.Index, or(c.Storage.System, c.Root)))
}

// networkVolumes are volumes on which neither locks nor memory maps hold what
// a database needs of them.
var networkVolumes = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.CEPH_SUPER_MAGIC: "CephFS",
	unix.AFS_SUPER_MAGIC:  "AFS",
}

func refuseNetwork(what, dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("looking at the volume of %s: %w", dir, err)
	}
	if name, ok := networkVolumes[int64(uint32(st.Type))]; ok {
		return fmt.Errorf("%s lies on %s, where the %s must not be: put it on a local volume with [storage] %s (contents may stay): %w",
			dir, name, what, what, efs.ErrBadInput)
	}
	return nil
}

// lockRoot makes this process the only server on the root until the returned
// file is closed.
func (c *Config) lockRoot() (*os.File, error) {
	path := filepath.Join(c.serverDir(), "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the root's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: another server runs on this root: stop it first: %w", c.Root, efs.ErrUnavailable)
	}
	return nil, fmt.Errorf("locking the root: %w", err)
}

func or(dir, otherwise string) string {
	if dir != "" {
		return dir
	}
	return otherwise
}
