package server

import (
	"bufio"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/fsarchive"
)

// maxArchives is how many archives are made at once: each takes a copy of an
// index on the volume.
const maxArchives = 4

// archiveBuffer is how many bytes of an archive are gathered before they are
// sent.
const archiveBuffer = 256 << 10

// archive answers GET /api/v1/buckets/B/archive: a tar of what is at a path, as
// of one change. Who may read and list a directory may do so with all below, so
// nothing in it has to be left out.
func (x *exchange) archive(t target) error {
	q := x.query()
	since := q.number("since", 0, 0, math.MaxInt64)
	name, _ := q.take("path")
	if err := q.done(); err != nil {
		return err
	}
	path, _, err := checkPath(strings.TrimPrefix(name, "/"))
	if err != nil {
		return err
	}
	if err := x.may(access.Read|access.List, path); err != nil {
		return err
	}
	x.place, _ = x.fs.SealLabel(x.r.Context(), path) // without the keys there is none
	select {
	case x.s.archives <- struct{}{}:
		defer func() { <-x.s.archives }()
	default:
		return &problem{kind: tooBusy, retry: 10, detail: "As many archives are being made as may be at once. Try again when one is done."}
	}
	x.watchPeer()
	view, err := x.fs.Snapshot(x.r.Context(), "archive")
	if err != nil {
		return readProblem(err)
	}
	defer view.Close()
	a, err := fsarchive.Prepare(x.r.Context(), fsarchive.Source{Name: x.fs.Name(), ID: x.fs.ID(), View: view, Log: x.fs}, fsarchive.Options{Path: path, Since: since})
	switch {
	case errors.Is(err, fsarchive.ErrNeedsFull):
		return logTruncated.from(err, "What changed since cannot be told any more. Make a full archive.")
	case errors.Is(err, efs.ErrBadInput):
		return badParameter.from(err, "There is no change "+strconv.FormatUint(since, 10)+" yet. Is the archive that it is taken from one of this file system?")
	case err != nil:
		return readProblem(err)
	}
	return x.sendArchive(a, view.Seq())
}

// sendArchive sends the tar. What fails on the way breaks the answer off.
func (x *exchange) sendArchive(a *fsarchive.Archive, seq uint64) error {
	h := x.Header()
	h["Content-Type"] = []string{"application/x-tar"}
	h["Cache-Control"] = cacheControl
	h["X-Content-Type-Options"] = noSniff
	x.set("Efs-Sequence", strconv.FormatUint(seq, 10))
	x.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(x, archiveBuffer)
	if err := a.Write(x.r.Context(), out, time.Now()); err != nil {
		return readProblem(err)
	}
	return out.Flush()
}
