// Package backup keeps backups of a file system in a directory, and gives them
// back. It sees sealed contents and a sealed index; docs/backup.md specifies
// what lies where.
//
//	DIR/efs-backup.json       whose backups these are
//	DIR/contents/             a store of blobs (internal/blob/dir): each content once
//	DIR/index/NAME.index      a checkpoint of the index (internal/journal)
//	DIR/index/NAME.contents   which contents it refers to
//	DIR/backups/NAME.json     the manifest, written last: a backup is there with it
//
// No key ever lies here.
package backup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/blob/dir"
	"golang.org/x/sys/unix"
)

// Format is the version of what this package writes. Later ones are refused.
const Format = 1

const (
	aboutFile   = "efs-backup.json"
	contentsDir = "contents"
	indexDir    = "index"
	backupsDir  = "backups"
	partSuffix  = ".part"

	indexSuffix = ".index"
	listSuffix  = ".contents"
	fileMode    = 0o600
	dirMode     = 0o700
)

// About says whose backups a repository holds.
type About struct {
	Format  int       `json:"format"`
	FS      efs.ID    `json:"fs"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// Manifest is one backup: a file system as of one change.
type Manifest struct {
	Format   int    `json:"format"`
	Name     string `json:"backup"` // by which it is asked for
	FS       efs.ID `json:"fs"`
	FSName   string `json:"name"`
	Number   uint64 `json:"number"`   // in the order in which they were made, whatever the clock said; 0: before there were numbers
	Sequence uint64 `json:"sequence"` // of the last change that it shows
	Revision uint64 `json:"revision"` // of the index
	FanOut   int    `json:"fan_out"`  // of the contents, where they were

	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`

	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"` // of the files, as users see them

	Contents      int64 `json:"contents"`       // in blobs; small files are in the index
	ContentBytes  int64 `json:"content_bytes"`  // sealed
	Copied        int64 `json:"copied"`         // of them, by this backup
	CopiedBytes   int64 `json:"copied_bytes"`   //
	Lost          int64 `json:"lost,omitempty"` // of them, that were missing or damaged: fsck tells which
	IndexBytes    int64 `json:"index_bytes"`
	ContentsBytes int64 `json:"contents_list_bytes"`

	Usage map[efs.ID]efs.Usage `json:"usage"` // what accounts had in use; counted anew by a restore
}

// Repository is a directory with backups, locked.
type Repository struct {
	dir   string
	about About
	lock  *os.File
	blobs *dir.Store
}

// Open opens the repository in dir. efs.ErrNotFound if there is none,
// efs.ErrUnavailable if it is in use, efs.ErrUnsupported if a newer version of
// EFS made it.
func Open(path string) (*Repository, error) { return open(path, nil) }

// Create opens the repository in dir for the file system that about names, and
// makes it where there is none: in a directory that is empty or does not exist.
// efs.ErrConflict if it is another file system's.
func Create(path string, about About) (*Repository, error) {
	about.Format = Format
	return open(path, &about)
}

func open(path string, want *About) (r *Repository, err error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%w: '%s' is no absolute path", efs.ErrBadInput, path)
	}
	r = &Repository{dir: filepath.Clean(path)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("backups in '%s': %w", path, err), r.Close())
			r = nil
		}
	}()
	if want != nil {
		if err := r.prepare(); err != nil {
			return r, err
		}
		// Before anything is made: of two at once, for two file systems perhaps,
		// the second would make it another's under the first.
		if err := r.takeLock(want); err != nil {
			return r, err
		}
	}
	switch r.about, err = readAbout(r.path(aboutFile)); {
	case errors.Is(err, os.ErrNotExist) && want != nil:
		err = r.initialise(*want)
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: there is no %s in it", efs.ErrNotFound, aboutFile)
	case err == nil && want != nil && want.FS != r.about.FS:
		err = fmt.Errorf("%w: they are of file system '%s' (%s): give each file system a directory of its own", efs.ErrConflict, r.about.Name, r.about.FS)
	}
	if err != nil {
		return r, err
	}
	if want == nil {
		if err := r.takeLock(want); err != nil {
			return r, err
		}
	}
	r.blobs, err = dir.Open(r.path(contentsDir), dir.Options{})
	return r, err
}

// prepare makes the directory, if only its last name is missing.
func (r *Repository) prepare() error {
	if err := os.Mkdir(r.dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	names, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		switch n.Name() {
		case aboutFile:
			return nil
		case contentsDir, indexDir, backupsDir, "lost+found", "lock":
		default:
			if !strings.HasPrefix(n.Name(), aboutFile) {
				return fmt.Errorf("%w: it holds '%s' and no backups: give an empty directory", efs.ErrExists, n.Name())
			}
		}
	}
	return nil
}

// initialise makes what a repository consists of; what tells of it comes last.
func (r *Repository) initialise(about About) error {
	for _, d := range []string{indexDir, backupsDir} {
		if err := os.Mkdir(r.path(d), dirMode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	blobs, err := dir.Create(r.path(contentsDir), dir.Options{FanOut: 2})
	if errors.Is(err, efs.ErrExists) { // by an attempt that was cut off
		blobs, err = dir.Open(r.path(contentsDir), dir.Options{})
	}
	if err == nil {
		err = blobs.Close()
	}
	if err != nil {
		return err
	}
	r.about = about
	b, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path(aboutFile), append(b, '\n'), fileMode)
}

func readAbout(path string) (a About, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil || a.FS.IsZero() || !efs.ValidFSName(a.Name) { // the name becomes a path
		return a, fmt.Errorf("%w: %s makes no sense", efs.ErrDamaged, aboutFile)
	}
	return a, checkFormat(a.Format)
}

func checkFormat(format int) error {
	if format > Format {
		return fmt.Errorf("%w: format %d, this program knows %d: use the version of EFS that wrote it", efs.ErrUnsupported, format, Format)
	}
	return nil
}

func (r *Repository) takeLock(want *About) (err error) {
	r.lock, err = os.OpenFile(r.path("lock"), os.O_RDWR|os.O_CREATE, fileMode)
	if want == nil && (errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrPermission)) {
		return nil // nobody writes there now, or somebody else's copy that is only read
	}
	if err != nil {
		return err
	}
	err = unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: another backup or restore is using them", efs.ErrUnavailable)
	}
	return err
}

// Close releases the repository.
func (r *Repository) Close() error {
	var errs []error
	if r.blobs != nil {
		errs = append(errs, r.blobs.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(errs...)
}

// About says whose backups these are.
func (r *Repository) About() About { return r.about }

// Blobs is where the contents of all backups lie.
func (r *Repository) Blobs() *dir.Store { return r.blobs }

func (r *Repository) path(names ...string) string {
	return filepath.Join(append([]string{r.dir}, names...)...)
}

func (r *Repository) indexPath(name string) string { return r.path(indexDir, name+indexSuffix) }
func (r *Repository) listPath(name string) string  { return r.path(indexDir, name+listSuffix) }

var backupName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9]+(\.[0-9]+)?$`)

// List returns the backups in a directory, the oldest first, while it may be in
// use. Errors as of Open.
func List(path string) ([]Manifest, error) {
	r := &Repository{dir: filepath.Clean(path)}
	var err error
	switch r.about, err = readAbout(r.path(aboutFile)); {
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: there is no %s in it", efs.ErrNotFound, aboutFile)
	case err == nil:
		var all []Manifest
		if all, err = r.List(); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("backups in '%s': %w", path, err)
}

// List returns all backups, the oldest first.
func (r *Repository) List() ([]Manifest, error) {
	names, err := os.ReadDir(r.path(backupsDir))
	if err != nil {
		return nil, err
	}
	all := []Manifest{}
	for _, n := range names {
		name, ok := strings.CutSuffix(n.Name(), ".json")
		if !ok || !backupName.MatchString(name) {
			continue
		}
		m, err := r.manifest(name)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Manifest) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), a.Begun.Compare(b.Begun), cmp.Compare(a.Revision, b.Revision))
	})
	return all, nil
}

func (r *Repository) manifest(name string) (m Manifest, err error) {
	b, err := os.ReadFile(r.path(backupsDir, name+".json"))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Name != name || m.FS != r.about.FS {
		return m, fmt.Errorf("%w: the manifest of backup %s makes no sense; the others can be restored, each by its name", efs.ErrDamaged, name)
	}
	return m, checkFormat(m.Format)
}

// Find returns the backup that which names: by its name or a part of it that no
// other begins with, by its sequence number, or by a time (RFC 3339, or a date),
// which stands for the last one begun until then. "" is the newest one. efs.ErrNotFound.
func (r *Repository) Find(which string) (Manifest, error) {
	if backupName.MatchString(which) { // whatever the others are like
		if m, err := r.manifest(which); !errors.Is(err, os.ErrNotExist) {
			return m, err
		}
	}
	all, err := r.List()
	if err != nil {
		return Manifest{}, err
	}
	if len(all) == 0 {
		return Manifest{}, fmt.Errorf("%w: there is no whole backup in '%s'", efs.ErrNotFound, r.dir)
	}
	if which == "" {
		return all[len(all)-1], nil
	}
	var found []Manifest
	at, timed := parseTime(which)
	for _, m := range all {
		switch {
		case m.Name == which, fmt.Sprint(m.Sequence) == which:
			found = []Manifest{m}
		case timed && !m.Begun.After(at):
			found = []Manifest{m}
		case !timed && strings.HasPrefix(m.Name, which) && len(which) >= 8:
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Manifest{}, fmt.Errorf("%w: no backup %q in '%s': --list shows them", efs.ErrNotFound, which, r.dir)
	}
	return Manifest{}, fmt.Errorf("%w: %q stands for %d backups: give more of the name", efs.ErrBadInput, which, len(found))
}

func parseTime(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.Add(24*time.Hour - time.Nanosecond), true
	}
	return time.Time{}, false
}
