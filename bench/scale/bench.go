package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"syscall"
	"time"
)

// bench is one run under way.
type bench struct {
	plan
	server server
	report Report
	begun  time.Time
}

func (b *bench) say(format string, args ...any) {
	log.Printf("%6s  "+format, append([]any{time.Since(b.begun).Round(time.Second)}, args...)...)
}

// run does all phases in order. Each measured run of stores begins with a
// server that was just started and directories that exist.
func (b *bench) run(ctx context.Context) error {
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"first", b.first},
		{"fill", b.fill},
		{"last", b.last},
		{"kill", b.kill},
		{"pages", b.pages},
		{"cold", b.cold},
		{"delete", b.delete},
		{"remaining", b.remaining},
	} {
		if err := phase.do(ctx); err != nil {
			return fmt.Errorf("phase %s: %w", phase.name, err)
		}
		if err := b.stop(phase.name, syscall.SIGTERM); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// start starts the server and makes a session.
func (b *bench) start(ctx context.Context) (time.Duration, error) {
	took, err := b.server.start(ctx)
	if err != nil {
		return took, err
	}
	if err := b.server.login(ctx); err != nil {
		return took, fmt.Errorf("%w; the server's log:\n%s", err, b.server.tail())
	}
	return took, nil
}

// stop ends the server, if it runs, and keeps its peak of memory under the
// name of the phase.
func (b *bench) stop(phase string, sig syscall.Signal) error {
	if b.server.cmd == nil {
		return nil
	}
	peak := b.server.mem.peak.Load()
	b.report.Anon[phase] = max(b.report.Anon[phase], peak)
	return b.server.stop(sig)
}

// restart ends the server in order and starts it again.
func (b *bench) restart(ctx context.Context, phase string) error {
	if err := b.stop(phase, syscall.SIGTERM); err != nil {
		return err
	}
	took, err := b.start(ctx)
	b.report.Restart.Clean = max(b.report.Restart.Clean, took)
	return err
}

// first stores the first sample into an empty file system and looks it up.
func (b *bench) first(ctx context.Context) (err error) {
	if err := b.server.create(ctx); err != nil {
		return err
	}
	if err := b.server.login(ctx); err != nil {
		return err
	}
	if err := b.server.mkdirs(ctx, b.plan, 0, b.Dirs); err != nil {
		return err
	}
	if err := b.restart(ctx, "first"); err != nil {
		return err
	}
	if b.report.First, err = b.server.store(ctx, 0, b.Sample, b.file); err != nil {
		return err
	}
	b.sayRate("first", b.report.First)
	if b.report.LookFirst, err = b.server.look(ctx, b.plan, b.Sample); err != nil {
		return err
	}
	b.sayLook(b.report.LookFirst)
	return nil
}

// fill stores all but the first and the last samples.
func (b *bench) fill(ctx context.Context) error {
	order := func(i int) int { return b.bulk(b.Sample, b.Files-b.Sample, i) }
	if b.Scatter {
		order = func(i int) int { return b.Sample + i }
	}
	for _, f := range []struct {
		what  string
		files int
		order func(int) int
		path  func(int) string
	}{
		{"filling directories", b.Files - 2*b.Sample, order, b.file},
		{"filling one directory", b.Big - b.Sample, func(i int) int { return i }, b.bigFile},
	} {
		took, err := b.server.fill(ctx, f.what, f.files, f.order, f.path)
		if err != nil {
			return err
		}
		rate := float64(f.files) / took.Seconds()
		b.report.Fill = append(b.report.Fill, Fill{f.what, f.files, rate})
		b.say("%s: %d files, %.0f/s", f.what, f.files, rate)
	}
	return nil
}

// last stores the last samples and looks up files among all.
func (b *bench) last(ctx context.Context) (err error) {
	if err := b.restart(ctx, "last"); err != nil {
		return err
	}
	if b.report.Last, err = b.server.store(ctx, b.Files-b.Sample, b.Files, b.file); err != nil {
		return err
	}
	b.sayRate("last", b.report.Last)
	if b.report.LookLast, err = b.server.look(ctx, b.plan, b.Files); err != nil {
		return err
	}
	b.sayLook(b.report.LookLast)
	if err := b.restart(ctx, "last"); err != nil {
		return err
	}
	if b.report.Big, err = b.server.store(ctx, b.Big-b.Sample, b.Big, b.bigFile); err != nil {
		return err
	}
	b.sayRate("last in one directory", b.report.Big)
	return nil
}

// kill ends the server with SIGKILL right after it has confirmed stores,
// starts it again and reads them.
func (b *bench) kill(ctx context.Context) error {
	if _, err := b.start(ctx); err != nil {
		return err
	}
	n := min(b.Sample, 5000)
	again := func(i int) string { return b.file(b.Files - n + i) } // replaced, so that counts stay
	_, err := b.server.each(ctx, storeClients, 0, n, func(c *conn, i int) error {
		body := make([]byte, fileSize)
		stamp(body, b.Files-n+i)
		_, err := c.expect(200, "PUT", "/data/"+again(i), body)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.stop("kill", syscall.SIGKILL); err != nil {
		return err
	}
	if b.report.Restart.Killed, err = b.start(ctx); err != nil {
		return err
	}
	b.say("restart after SIGKILL: %s", b.report.Restart.Killed.Round(time.Millisecond))
	_, err = b.server.each(ctx, 1, b.Files-n, b.Files, func(c *conn, i int) error { return read(c, b.plan, i) })
	return err
}

// positions are the names before the measured pages: none, half, all but the
// last page.
func (b *bench) positions() []int { return []int{0, b.Big / 2, b.Big - pageNames} }

// names returns the names of the big directory in order.
func (b *bench) names() []string {
	names := make([]string, b.Big)
	for i := range names {
		names[i] = b.bigName(i)
	}
	slices.Sort(names)
	return names
}

// pages reads pages of the big directory again and again.
func (b *bench) pages(ctx context.Context) error {
	if err := b.restart(ctx, "pages"); err != nil {
		return err
	}
	names := b.names()
	for _, after := range b.positions() {
		took, err := b.server.each(ctx, 1, 0, 10, func(c *conn, _ int) error {
			_, err := b.server.page(c, names, after)
			return err
		})
		if err != nil {
			return err
		}
		worst := quantile(took, 100)
		b.report.PagesWarm = append(b.report.PagesWarm, Page{after, worst})
		b.say("page of %d names after %d: %s, worst of 10 %s", pageNames, after, took[len(took)/2].Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	}
	return nil
}

// coldRounds is how often each page is read with a cold page cache.
const coldRounds = 3

// cold reads each page right after a start with nothing of the root in the
// page cache, and counts what the index takes.
func (b *bench) cold(ctx context.Context) (err error) {
	if b.report.Full, err = account(b.server.index(), int64(b.total())); err != nil {
		return err
	}
	b.say("the index:\n%s", b.report.Full.table(int64(b.total())))
	names := b.names()
	for _, after := range b.positions() {
		var worst time.Duration
		for range coldRounds {
			took, err := b.coldPage(ctx, names, after)
			if err != nil {
				return err
			}
			worst = max(worst, took)
		}
		b.report.PagesCold = append(b.report.PagesCold, Page{after, worst})
		b.say("cold page of %d names after %d: worst of %d %s", pageNames, after, coldRounds, worst.Round(10*time.Microsecond))
	}
	b.say("cold restart: %s", b.report.Restart.Cold.Round(time.Millisecond))
	return nil
}

func (b *bench) coldPage(ctx context.Context, names []string, after int) (time.Duration, error) {
	if err := b.stop("cold", syscall.SIGTERM); err != nil {
		return 0, err
	}
	if err := chill(b.server.dir); err != nil {
		return 0, err
	}
	took, err := b.start(ctx)
	if err != nil {
		return 0, err
	}
	b.report.Restart.Cold = max(b.report.Restart.Cold, took)
	c, err := b.server.dial()
	if err != nil {
		return 0, err
	}
	defer c.close()
	return b.server.page(c, names, after)
}

// kept is how many of the directories are not deleted.
func (b *bench) kept() int { return b.Dirs / 10 }

// gone is how many files lie in those that are.
func (b *bench) gone() (n int) {
	for d := b.kept(); d < b.Dirs; d++ {
		n += (b.Files - d + b.Dirs - 1) / b.Dirs
	}
	return n
}

// delete deletes 9 of 10 directories and waits until nothing is left to do.
func (b *bench) delete(ctx context.Context) error {
	if err := b.restart(ctx, "delete"); err != nil {
		return err
	}
	before, err := b.server.metric("efs_fs_files")
	if err != nil {
		return err
	}
	if int(before) != b.total() {
		return fmt.Errorf("there are %.0f files instead of %d", before, b.total())
	}
	begun, used := time.Now(), cpu(b.server.pid())
	_, err = b.server.each(ctx, storeClients, b.kept(), b.Dirs, func(c *conn, n int) error {
		_, err := c.expect(204, "DELETE", "/data/"+b.dir(n)+"/?recursive=true", nil)
		return err
	})
	if err != nil {
		return err
	}
	detached := time.Since(begun)
	idle, err := b.settle(ctx)
	if err != nil {
		return err
	}
	b.report.Delete = idle.Sub(begun)
	b.report.DeleteCPU = (cpu(b.server.pid()) - used) / time.Duration(b.gone())
	b.say("deleted %d directories in %s, and what was in them in %s, server %s of CPU for each file", b.Dirs-b.kept(),
		detached.Round(time.Millisecond), b.report.Delete.Round(time.Second), b.report.DeleteCPU.Round(100*time.Nanosecond))
	return nil
}

// The server is at rest when it has used less than restCPU in restFor: its
// own look for work comes every five seconds.
const (
	restFor = 6 * time.Second
	restCPU = 150 * time.Millisecond
)

// settle waits until the server has done what it does in the background after
// a deletion, and returns since when.
func (b *bench) settle(ctx context.Context) (since time.Time, err error) {
	left := func() float64 {
		n, e := b.server.metric("efs_fs_files")
		if e != nil {
			err = e
		}
		return n
	}
	defer progress("emptying directories", b.gone(), func() int { return b.total() - int(left()) })()
	want := float64(b.total() - b.gone())
	since = time.Now()
	used := cpu(b.server.pid())
	for err == nil {
		select {
		case <-ctx.Done():
			return since, ctx.Err()
		case <-time.After(restFor / 6):
		}
		switch now := cpu(b.server.pid()); {
		case now-used > restCPU:
			used, since = now, time.Now()
		case time.Since(since) < restFor:
		case left() == want:
			return since, nil
		case time.Since(since) > time.Minute:
			return since, fmt.Errorf("the server does nothing, and there are %.0f files instead of %.0f", left(), want)
		}
	}
	return since, err
}

// remaining stores a sample into what is left and counts what the index takes.
func (b *bench) remaining(ctx context.Context) (err error) {
	left := int64(b.total() - b.gone())
	if b.report.After, err = account(b.server.index(), left); err != nil {
		return err
	}
	if n := b.report.After.Buckets["queue"].Records; n != 0 {
		return fmt.Errorf("%d deleted contents are still in the release queue", n)
	}
	b.say("the index after deleting:\n%s", b.report.After.table(left))
	if _, err := b.start(ctx); err != nil {
		return err
	}
	if err := b.server.mkdirs(ctx, b.plan, b.kept(), b.Dirs); err != nil {
		return err
	}
	if err := b.restart(ctx, "remaining"); err != nil {
		return err
	}
	if b.report.Remaining, err = b.server.store(ctx, b.Files, b.Files+b.Sample, b.file); err != nil {
		return err
	}
	b.sayRate("after deleting", b.report.Remaining)
	return nil
}

func (b *bench) sayRate(what string, r Rate) {
	b.say("%s: %d stores, %.0f/s, p50 %s, p99 %s, server %s of CPU each, RssAnon %d MiB", what, r.Files, r.PerSec,
		r.P50.Round(10*time.Microsecond), r.P99.Round(10*time.Microsecond), r.CPU.Round(100*time.Nanosecond), r.AnonPeak>>20)
}

func (b *bench) sayLook(l Lookups) {
	b.say("lookups: p50 %s, with content %s", l.Head.Round(100*time.Nanosecond), l.Get.Round(100*time.Nanosecond))
}
