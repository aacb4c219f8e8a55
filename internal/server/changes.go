package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
)

// changesPage is how many changes are read from the log at a time.
const changesPage = 500

// changes answers with the change log as NDJSON, from the change after since.
// With follow=true it waits for more: until the client leaves, the session
// ends or the server stops. Empty lines keep the connection from looking dead
// to proxies.
func (x *exchange) changes(t target) error {
	q := x.query()
	since := q.number("since", 0, 0, math.MaxUint64)
	limit := q.number("limit", math.MaxUint64, 1, math.MaxUint64)
	follow := q.flag("follow")
	if err := q.done(); err != nil {
		return err
	}
	if x.fs == nil { // no file system of the caller's, or one out of reach
		return outOfReach()
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	head, err := x.fs.Head(ctx)
	if err != nil {
		return readProblem(err)
	}
	page, err := x.fs.Changes(ctx, since, changesPage)
	if err != nil {
		return readProblem(err) // log-truncated is told before the stream begins
	}
	h := x.Header()
	x.set("Efs-Sequence", strconv.FormatUint(head.Seq, 10))
	h["Content-Type"] = linesType
	h["Cache-Control"] = cacheControl
	x.WriteHeader(http.StatusOK)
	x.watchPeer() // also where all that is read is out of reach, and nothing written
	if follow {
		x.follow()
		forget := context.AfterFunc(x.s.feeds, cancel) // the server ends its feeds when it stops
		defer forget()
	}
	judged := time.Now()
	for {
		if follow && !x.stillMay(&judged) {
			return nil
		}
		if len(page) > 0 {
			since = page[len(page)-1].Seq
			x.again(t)
			if limit, err = x.sendChanges(page, limit); err != nil || limit == 0 {
				return err
			}
		}
		if len(page) < changesPage {
			if !follow {
				return nil
			}
			if more, err := x.awaitChange(ctx, since, &judged); !more {
				return err
			}
		}
		if page, err = x.fs.Changes(ctx, since, changesPage); err != nil {
			return endOfFeed(err)
		}
	}
}

// sendChanges sends what the user may see of a page: changes of users and
// their keys are not for users, and neither is what is out of reach. It
// returns what is left of limit.
func (x *exchange) sendChanges(page []efs.Change, limit uint64) (uint64, error) {
	var b []byte
	for i := range page {
		c, ok := seenBy(x.rights, &page[i])
		if !ok {
			continue
		}
		b = appendChange(b, c)
		if limit--; limit == 0 {
			break
		}
	}
	if len(b) == 0 {
		return limit, nil
	}
	return limit, x.writeNow(b)
}

// seenBy returns a change as somebody with these rights sees it: what was
// moved into reach was created, and what was moved out of it was deleted.
func seenBy(rights *access.Rights, c *efs.Change) (seen *efs.Change, ok bool) {
	if c.Op == efs.OpAccess || rights == nil || c.Op == efs.OpForgotten && !rights.All() {
		return nil, false
	}
	if rights.All() {
		return c, true
	}
	e := c.After
	if e == nil {
		e = c.Before
	}
	dir := e != nil && e.Kind == efs.KindDir
	to := rights.Visible(c.Path, dir)
	if c.Op != efs.OpMove {
		return c, to
	}
	from := rights.Visible(c.From, dir)
	switch {
	case from && to:
		return c, true
	case to:
		in := *c
		in.Op, in.From, in.Before = efs.OpCreate, "", nil
		return &in, true
	case from:
		out := *c
		out.Op, out.Path, out.From, out.After = efs.OpDelete, c.From, "", nil
		if out.Before == nil {
			out.Before = c.After
		}
		if dir {
			out.Op = efs.OpDeleteTree
		}
		return &out, true
	}
	return nil, false
}

// awaitChange waits until the log goes on after since. It is false when the
// feed is over: without an error if it may end here.
func (x *exchange) awaitChange(ctx context.Context, since uint64, judged *time.Time) (more bool, err error) {
	if err := x.writeNow(nil); err != nil { // what was sent so far is on its way before waiting
		return false, err
	}
	for {
		beat, done := context.WithTimeout(ctx, x.s.limits.Heartbeat)
		err := x.fs.Wait(beat, since)
		done()
		switch {
		case err == nil:
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case !errors.Is(err, context.DeadlineExceeded):
			return false, endOfFeed(err)
		}
		if !x.stillMay(judged) {
			return false, nil
		}
		if err := x.writeNow([]byte{'\n'}); err != nil {
			return false, err
		}
	}
}

// stillMay looks at certificate and session again once a heartbeat, however
// busy the log is: when they are over, so is what may be seen through them.
func (x *exchange) stillMay(judged *time.Time) bool {
	now := time.Now()
	if now.Sub(*judged) < x.s.limits.Heartbeat {
		return true
	}
	*judged = now
	return x.authenticate(needsSession) == nil
}

// endOfFeed ends a feed in good order where that is what happened; what else
// stops it breaks the answer off.
func endOfFeed(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// writeNow writes b and sends all that is buffered.
func (x *exchange) writeNow(b []byte) error {
	x.setWriteDeadline(time.Now().Add(x.s.limits.SlowClient))
	if len(b) > 0 {
		if _, err := x.Write(b); err != nil {
			return err
		}
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// appendChange writes one line of the feed.
func appendChange(b []byte, c *efs.Change) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, c.Seq, 10)
	b = append(b, `,"op":"`...)
	b = append(b, c.Op.String()...)
	b = append(b, `","time":"`...)
	b = time.UnixMicro(c.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","user":`...)
	b = appendString(b, c.User)
	b = append(b, `,"path":`...)
	b = appendString(b, "/"+c.Path)
	if c.Op == efs.OpMove {
		b = append(b, `,"from":`...)
		b = appendString(b, "/"+c.From)
	}
	e := c.After
	if e == nil {
		e = c.Before
	}
	if e != nil {
		b = append(b, `,"file":"`...)
		b = append(b, e.File.String()...)
		b = append(b, `","kind":"`...)
		b = append(b, e.Kind.String()...)
		b = append(b, '"')
	}
	if e = c.After; e != nil {
		b = append(b, `,"etag":`...)
		b = appendString(b, e.ETag)
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, e.Version, 10)
		if e.Kind == efs.KindFile {
			b = append(b, `,"size":`...)
			b = strconv.AppendInt(b, e.Size, 10)
		}
	}
	return append(b, '}', '\n')
}
