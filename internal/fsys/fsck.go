package fsys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// The kinds of problem that Fsck reports.
const (
	ProblemEntry     = "entry-unreadable"   // an entry record that does not open
	ProblemStray     = "entry-stray"        // an entry in no directory
	ProblemFile      = "file-record"        // id and entry of a file do not lead to each other
	ProblemPlace     = "directory-place"    // place and entry of a directory do not lead to each other
	ProblemContent   = "content-unreadable" // a content that is missing, cut off or altered
	ProblemOrphan    = "content-orphan"     // a content that nothing refers to
	ProblemUndecided = "content-undecided"  // a content of which that cannot be told
	ProblemInline    = "inline-orphan"      // an inline content that nothing refers to
	ProblemNames     = "names"              // the sorted names of a large directory are not those of its entries
	ProblemChain     = "change-chain"       // the change log was altered
	ProblemUsage     = "usage"              // the bytes and files in use are counted wrong
)

// Fsck compares everything in the index with everything it refers to and the
// other way round. Clients may go on reading and writing: what seems wrong is
// looked at again before it is reported.
//
// With o.Deep every content is read whole. With o.Repair orphaned blobs are
// quarantined, after another look, the usage is set right, and sorted names are
// made anew; files and directories are never touched. The error is about the check itself: what was
// found is in the report.
func (fs *FS) Fsck(ctx context.Context, o FsckOptions) (*FsckReport, error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	c := &checker{fs: fs, ctx: ctx, o: o, users: map[string]efs.Usage{}, report: &FsckReport{Deep: o.Deep, Problems: []Problem{}}}
	before, quiet := c.barrier()
	if u, err := fs.Usage(ctx); err == nil {
		c.total = u.Files
	}
	for _, step := range []func() error{c.entries, c.uploads, c.files, c.places, c.names, c.inlines, c.blobs, c.chain, c.unitRecords} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("checking file system '%s': %w", fs.o.Name, err)
		}
	}
	counted, err := fs.Usage(ctx)
	if err != nil {
		return c.report, err
	}
	if after, ok := c.barrier(); quiet && ok && after-before == c.barriers-1 { // nobody else's
		c.report.UsageChecked = true
		if err = c.usage(c.fs.o.ID, "", counted, c.used); err == nil {
			err = c.userUsage()
		}
	}
	if err == nil {
		err = c.forgotten()
	}
	return c.report, err
}

// barrier waits until every commit that can be seen has ended, by one that
// changes nothing, and returns its revision. It is not ok where nothing can be
// committed.
func (c *checker) barrier() (revision uint64, ok bool) {
	done, err := c.fs.o.Index.Commit(c.ctx, &efs.Txn{})
	if err == nil {
		c.barriers++
	}
	return done.Revision, err == nil
}

// checker is one check under way.
type checker struct {
	fs     *FS
	ctx    context.Context
	o      FsckOptions
	report *FsckReport
	total  int64
	done   int64
	used   efs.Usage
	users  map[string]efs.Usage // what of it users have, who have a quota
	inline []efs.ID             // that entries refer to, sorted once all are known
	blob   []efs.ID

	left leftover

	barriers uint64 // commits of its own
}

func (c *checker) found(p Problem) { c.report.Problems = append(c.report.Problems, p) }

func (c *checker) progress() {
	c.done++
	if c.o.Progress != nil && c.done%256 == 0 {
		c.o.Progress(c.done, max(c.total, c.done))
	}
}

// entries checks every entry with what it refers to.
func (c *checker) entries() error {
	err := c.fs.scan(c.ctx, efs.SpaceEntries, nil, scanPage, func(r *efs.Record) error {
		c.progress()
		return c.stable(r, c.entry)
	})
	slices.SortFunc(c.inline, compareID)
	slices.SortFunc(c.blob, compareID)
	if c.o.Progress != nil {
		c.o.Progress(c.done, c.done)
	}
	return err
}

func compareID(a, b efs.ID) int { return slices.Compare(a[:], b[:]) }

// stable runs check on an entry record until its finding is about a record
// that has not changed meanwhile.
func (c *checker) stable(r *efs.Record, check func(*efs.Record) (*efs.Entry, []Problem, error)) error {
	for {
		e, problems, err := check(r)
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			now, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: r.Key})
			if err != nil {
				return err
			}
			if now[0].Version == 0 {
				return nil
			}
			if now[0].Version != r.Version {
				r.Version, r.Sealed = now[0].Version, now[0].Sealed
				continue
			}
		}
		c.count(e)
		c.report.Problems = append(c.report.Problems, problems...)
		return nil
	}
}

// count takes a checked entry into the sums.
func (c *checker) count(e *efs.Entry) {
	if e == nil {
		return
	}
	if e.Kind == efs.KindDir {
		c.report.Directories++
		return
	}
	c.report.Files++
	c.report.Bytes += e.Size
	c.used.Bytes += e.Size
	c.used.Files++
	c.countOwner(e)
	for _, x := range e.Extents {
		c.report.Contents++
		if x.Inline {
			c.inline = append(c.inline, x.Content)
		} else {
			c.blob = append(c.blob, x.Content)
		}
	}
}

// entry checks one entry record.
func (c *checker) entry(r *efs.Record) (*efs.Entry, []Problem, error) {
	if len(r.Key) != len(entryKey{}) {
		return nil, []Problem{{Kind: ProblemEntry, ID: fmt.Sprintf("%x", r.Key), Detail: "a key of the wrong length",
			Remedy: "the index was altered: restore it from a backup"}}, nil
	}
	key := entryKey(r.Key)
	e, err := c.fs.openEntry(r.Key, r.Sealed)
	if isForgotten(err) {
		c.leftRecord(efs.SpaceEntries, r)
		return nil, nil, nil
	}
	if err != nil {
		return nil, []Problem{{Kind: ProblemEntry, ID: fmt.Sprintf("%x", r.Key), Path: c.pathOf(key.dir(), "?"), Detail: err.Error(),
			Remedy: "restore the index from a backup, or store the file again and delete what is left"}}, nil
	}
	var problems []Problem
	add := func(kind, detail, remedy string) {
		problems = append(problems, Problem{Kind: kind, ID: e.File.String(), Path: c.pathOf(key.dir(), e.Name), Detail: detail, Remedy: remedy})
	}
	if k, err := c.keyOf(key.dir(), e.Name); err != nil {
		return nil, nil, err
	} else if k != key {
		add(ProblemEntry, "its key is not that of its name", "restore the index from a backup")
	}
	if e.Kind == efs.KindDir {
		return e, problems, c.directory(key, e, add)
	}
	if err := c.file(key, e, add); err != nil {
		return nil, nil, err
	}
	return e, problems, c.contents(e, add)
}

type adder func(kind, detail, remedy string)

// directory checks the place of a directory against its entry.
func (c *checker) directory(key entryKey, e *efs.Entry, add adder) error {
	p, _, err := c.fs.place(c.ctx, e.File)
	switch {
	case errors.Is(err, efs.ErrDamaged), isForgotten(err):
		add(ProblemPlace, err.Error(), "restore the index from a backup")
	case err != nil:
		return err
	case p == nil:
		add(ProblemPlace, "the directory has no place", "restore the index from a backup")
	case p.Parent != key.dir() || p.Name != e.Name:
		add(ProblemPlace, "the directory's place is elsewhere", "restore the index from a backup")
	}
	return nil
}

// file checks that a file's id leads to its entry.
func (c *checker) file(key entryKey, e *efs.Entry, add adder) error {
	id := e.File
	recs, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceFiles, Bytes: id[:]})
	if err != nil {
		return err
	}
	if recs[0].Version == 0 {
		add(ProblemFile, "its id leads nowhere", "copy the file and delete this one")
		return nil
	}
	if k, err := c.fs.openFileRecord(id, recs[0].Sealed); err != nil || k != key {
		add(ProblemFile, "its id leads to another entry", "copy the file and delete this one")
	}
	return nil
}

// contents checks that what a file consists of is there, and with Deep that it
// is what was stored.
func (c *checker) contents(e *efs.Entry, add adder) error {
	const remedy = "restore this file from a backup or store it again"
	f, err := c.fs.openFile(c.ctx, e)
	if err == nil {
		defer f.Close()
		if err = f.present(); err == nil && c.o.Deep {
			err = f.verify()
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, efs.ErrDamaged), errors.Is(err, efs.ErrNotFound), isForgotten(err):
		add(ProblemContent, err.Error(), remedy)
	default:
		return err
	}
	return nil
}

// keyOf is the key that an entry of a name in a directory must have. That of a
// directory whose place does not open is reported with the place.
func (c *checker) keyOf(dir efs.ID, name string) (entryKey, error) {
	in, err := c.fs.tokensOf(c.ctx, dir)
	if err != nil && !errors.Is(err, efs.ErrDamaged) && !isForgotten(err) {
		return entryKey{}, err
	}
	return c.fs.entryKey(in, dir, name)
}

// pathOf is the path of a name in a directory, for the report.
func (c *checker) pathOf(dir efs.ID, name string) string {
	if dir == c.fs.o.ID {
		return name
	}
	segs, err := c.fs.climb(c.ctx, dir)
	if err != nil {
		return ""
	}
	return join(append(segs, name))
}

// files checks that every file id leads to an entry of that file.
func (c *checker) files() error {
	return c.fs.scan(c.ctx, efs.SpaceFiles, nil, scanPage, func(r *efs.Record) error {
		id, err := keyID(r.Key)
		if err == nil {
			var e *keyedEntry
			if e, err = c.fs.byFile(c.ctx, id); err == nil && e != nil {
				return nil
			}
		}
		if isForgotten(err) {
			c.leftRecord(efs.SpaceFiles, r)
			return nil
		}
		if err != nil && !errors.Is(err, efs.ErrDamaged) {
			return err
		}
		// Deleted or moved meanwhile?
		now, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceFiles, Bytes: r.Key})
		if err != nil || now[0].Version != r.Version {
			return err
		}
		c.found(Problem{Kind: ProblemFile, ID: fmt.Sprintf("%x", r.Key), Detail: "a file id leads to no entry of that file",
			Remedy: "restore the index from a backup"})
		return nil
	})
}

func keyID(key []byte) (efs.ID, error) {
	if len(key) != 16 {
		return efs.ID{}, fmt.Errorf("%w: a key of %d bytes", efs.ErrDamaged, len(key))
	}
	return efs.ID(key), nil
}

// usage compares what is counted as in use with what was found, for the file
// system or for a user.
func (c *checker) usage(account efs.ID, user string, counted, found efs.Usage) (err error) {
	if counted == found {
		return nil
	}
	whose := ""
	if user != "" {
		whose = fmt.Sprintf(" of user '%s'", user)
	}
	p := Problem{Kind: ProblemUsage, Remedy: "run fsck with --repair",
		Detail: fmt.Sprintf("%d bytes in %d files%s are counted, %d in %d exist", counted.Bytes, counted.Files, whose, found.Bytes, found.Files)}
	if c.o.Repair {
		// A difference stays right whatever is committed meanwhile.
		_, err = c.fs.o.Index.Commit(c.ctx, &efs.Txn{Usage: []efs.Delta{{
			Account: account, Bytes: found.Bytes - counted.Bytes, Files: found.Files - counted.Files,
		}}})
		p.Repaired = err == nil
	}
	c.found(p)
	return err
}

// chain checks the links of the change log from its start to the head.
func (c *checker) chain() error {
	const remedy = "the index was altered: restore it from a backup"
	first, last, err := c.fs.o.Index.LogBounds(c.ctx)
	if err != nil {
		return err
	}
	var prev efs.SealedChange // before the first change: zero, known only if nothing was cut off
	since := first - 1
	for since < last {
		page, err := c.fs.o.Index.Changes(c.ctx, since, scanPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			c.found(Problem{Kind: ProblemChain, ID: fmt.Sprint(since + 1), Detail: "a change is missing", Remedy: remedy})
			return nil
		}
		for i := range page {
			s := &page[i]
			err := error(nil)
			if prev.Seq != 0 || s.Seq == 1 {
				err = c.fs.linked(&prev, s)
			}
			var change efs.Change
			if err = cmp.Or(err, c.fs.openChange(s, &change)); err != nil {
				c.found(Problem{Kind: ProblemChain, ID: fmt.Sprint(s.Seq), Detail: err.Error(), Remedy: remedy})
				return nil
			}
			c.report.Changes++
			prev = *s
		}
		since = prev.Seq
	}
	return c.headFits(prev, remedy)
}

// headFits checks that the chain leads to the sealed head. An index that has
// stopped may show changes whose outcome is unknown: it has no say.
func (c *checker) headFits(last efs.SealedChange, remedy string) error {
	if _, ok := c.barrier(); !ok {
		return c.ctx.Err()
	}
	h, err := c.fs.Head(c.ctx)
	if err != nil {
		return err
	}
	if h.Seq == last.Seq && h.Link != last.Link || h.Seq < last.Seq {
		c.found(Problem{Kind: ProblemChain, ID: fmt.Sprint(last.Seq), Detail: "the log does not lead to the head", Remedy: remedy})
	}
	return nil
}
