package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/efs-project/efs"
)

// Replay calls put and del so that in the end they have made the newest state
// that the journal in dir yields: the last whole checkpoint and what was
// committed after it. What put and del are passed may be kept. A damaged end is
// told in the report; without any whole checkpoint as much as possible is read
// of the last one.
//
// Errors: efs.ErrNotFound if there is no checkpoint, efs.ErrDamaged if nothing
// opens with the key, efs.ErrUnsupported for a later format, those of reading,
// and put's and del's.
func Replay(dir string, key []byte, put func(k efs.Key, sealed []byte) error, del func(k efs.Key) error) (Report, error) {
	v := onlyPuts(put)
	v.Delete = del
	return ReplayTo(dir, key, v)
}

// ReplayTo is Replay for all that a journal holds.
func ReplayTo(dir string, key []byte, v *Visitor) (Report, error) {
	rep, err := replay(dir, key, v)
	if err != nil {
		return rep, fmt.Errorf("reading the journal '%s': %w", dir, err)
	}
	return rep, nil
}

// Verify reads a journal, also one that is being written, and reports what it
// leads to. Errors: those of Replay, and that of ctx once it has ended.
func Verify(ctx context.Context, dir string, key []byte) (rep Report, err error) {
	v := &Visitor{Put: func(efs.Key, uint64, []byte) error { return ctx.Err() }}
	for range 10 {
		before, _ := list(dir) // an error is told by what follows
		rep, err = ReplayTo(dir, key, v)
		if err == nil && rep.Complete || err != nil && !errors.Is(err, os.ErrNotExist) {
			break
		}
		// Perhaps a new checkpoint has replaced a file meanwhile, or a chunk is
		// only half written. Else it is no use to read gigabytes again.
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return rep, ctx.Err()
		}
		if after, _ := list(dir); slices.Equal(before, after) {
			break
		}
	}
	return rep, err
}

func replay(dir string, key []byte, v *Visitor) (rep Report, err error) {
	files, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return rep, fmt.Errorf("there is none: %w", efs.ErrNotFound)
	}
	if err != nil {
		return rep, err
	}
	var start file
	var passed string
	if checkpoints := only(files, kindCheckpoint); len(checkpoints) > 0 {
		if start, passed, err = chooseCheckpoint(checkpoints, key); err == nil {
			rep, err = readCheckpointFile(start, key, v)
		}
	} else {
		start.number = 1
		rep.Head, err = fromTheBeginning(only(files, kindLog), key)
	}
	if err != nil {
		return rep, err
	}
	r := replayer{rep: rep, key: key, v: v}
	if passed != "" {
		r.rep.addLost(passed)
	}
	logs := only(files, kindLog)
	logs = slices.DeleteFunc(logs, func(f file) bool { return f.number < start.number })
	if err := r.logs(start.number, logs); err != nil {
		return r.rep, err
	}
	r.rep.Complete = r.rep.Lost == ""
	return r.rep, nil
}

// fromTheBeginning returns the head of the empty index that the first log began
// with: then no checkpoint is needed. efs.ErrNotFound if it did not.
func fromTheBeginning(logs []file, key []byte) (h efs.Head, err error) {
	ok := false
	if len(logs) > 0 && logs[0].number == 1 {
		h, ok, err = firstHead(logs[0].path, key)
	}
	if err == nil && (!ok || h.Revision != 0) {
		err = fmt.Errorf("there is no checkpoint in it: %w", efs.ErrNotFound)
	}
	return h, err
}

// chooseCheckpoint returns the newest checkpoint that is whole; the newest one
// if none is. Where it is not the newest, passed says why.
func chooseCheckpoint(all []file, key []byte) (f file, passed string, err error) {
	if len(all) == 1 {
		return all[0], "", nil
	}
	for i := len(all) - 1; i >= 0; i-- {
		rep, err := readCheckpointFile(all[i], key, &Visitor{})
		switch {
		case errors.Is(err, efs.ErrDamaged):
			passed = fmt.Sprintf("%s: nothing in it opens", filepath.Base(all[i].path))
		case err != nil:
			return f, "", err
		case rep.Complete && i == len(all)-1:
			return all[i], "", nil
		case rep.Complete:
			return all[i], passed + ", an older one was read", nil
		default:
			passed = fmt.Sprintf("%s: %s", filepath.Base(all[i].path), rep.Lost)
		}
	}
	return all[len(all)-1], "", nil
}

func readCheckpointFile(f file, key []byte, v *Visitor) (Report, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = r.Close() }()
	rep, h, err := readCheckpoint(r, key, v)
	if err == nil && h.number != f.number {
		err = fmt.Errorf("%w: it is checkpoint %d under the name of %d", efs.ErrDamaged, h.number, f.number)
	}
	if err != nil {
		return rep, fmt.Errorf("%s: %w", filepath.Base(f.path), err)
	}
	return rep, nil
}

// replayer follows the logs behind a checkpoint.
type replayer struct {
	rep   Report
	key   []byte
	v     *Visitor
	batch []item // of a commit whose head has not come yet
	at    efs.Head
	found bool // the checkpoint's place in the logs
	base  uint64
}

// logs reads the logs in turn, as far as each goes on where the one before
// ended.
func (r *replayer) logs(number uint64, all []file) error {
	r.base = r.rep.Revision
	for i, f := range all {
		if f.number != number+uint64(i) {
			r.rep.addLost(fmt.Sprintf("%s and what follows it: a log before it is missing", filepath.Base(f.path)))
			return nil
		}
		why, err := r.log(f, i == len(all)-1)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(f.path), err)
		}
		if why != "" {
			r.rep.addLost(filepath.Base(f.path) + ": " + why)
			return nil
		}
	}
	if len(all) > 0 && !r.found {
		r.rep.addLost("the logs do not go on from the checkpoint")
	}
	return nil
}

// log reads one log. why is not empty if it could not be read to its end.
func (r *replayer) log(f file, last bool) (why string, err error) {
	src, err := os.Open(f.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = src.Close() }()
	s, err := openStream(bufio.NewReaderSize(src, 1<<16), r.key)
	switch {
	case errors.Is(err, efs.ErrDamaged) && last && f.size < blockLen:
		return "", nil // its writer was stopped before it wrote anything
	case errors.Is(err, efs.ErrDamaged), isLoss(err):
		return "it does not open", nil
	case err != nil:
		return "", err
	case s.head.kind != kindLog || s.head.number != f.number || s.head.fs != r.rep.Head.FS:
		return "it is another file", nil
	}
	r.batch = r.batch[:0]
	for first := true; ; first = false {
		plain, err := s.next()
		switch {
		case errors.Is(err, io.EOF) && !s.ended && !last:
			return fmt.Sprintf("it was cut off at byte %d", s.at), nil
		case errors.Is(err, io.EOF):
			return "", nil
		case errors.Is(err, errTorn):
			return fmt.Sprintf("the last %d bytes are part of what was being written", f.size-s.at), nil
		case isLoss(err):
			return fmt.Sprintf("what lies behind byte %d does not open", s.at), nil
		case err != nil:
			return "", err
		}
		why, err := r.items(plain, first)
		if why != "" || err != nil {
			return why, err
		}
	}
}

// items takes the items of a chunk. The first of a log is the head that it
// goes on from.
func (r *replayer) items(plain []byte, first bool) (why string, err error) {
	for len(plain) > 0 {
		it, rest, err := nextItem(plain)
		if err != nil {
			return "", err
		}
		plain = rest
		switch {
		case first:
			first = false
			if it.kind != itemHead {
				return "", errItem
			}
			if r.found && !sameHead(it.head, r.at) {
				return fmt.Sprintf("mutations from revision %d to %d are missing before it", r.at.Revision, it.head.Revision), nil
			}
			r.at = it.head
			r.meet()
			if !r.found && it.head.Revision > r.base {
				return fmt.Sprintf("it begins at revision %d, behind the checkpoint at %d", it.head.Revision, r.base), nil
			}
		case it.kind == itemHead:
			if it.before != r.at.Revision {
				return "", errItem
			}
			r.at = it.head
			if err := r.commit(); err != nil {
				return "", err
			}
		default:
			r.batch = append(r.batch, it)
		}
	}
	return "", nil
}

// sameHead reports whether two heads are those of one state. Their times are
// those of housekeeping too.
func sameHead(a, b efs.Head) bool {
	return a.Revision == b.Revision && a.Seq == b.Seq && a.Link == b.Link
}

// meet notes whether the checkpoint's place has been reached.
func (r *replayer) meet() {
	r.found = r.found || sameHead(r.at, r.rep.Head)
}

// commit carries out the batch that led to r.at, if the checkpoint does not
// have it.
func (r *replayer) commit() error {
	defer func() { r.batch = r.batch[:0] }()
	if !r.found {
		r.meet()
		return nil
	}
	for i := range r.batch {
		if err := r.v.visit(&r.batch[i]); err != nil {
			return err
		}
	}
	r.rep.Commits++
	r.rep.setHead(r.rep.Head.FS, r.at)
	return nil
}
