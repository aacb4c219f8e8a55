package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/browse"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/progress"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/transfer"
)

// put stores local files and trees.
func (s *shell) put(ctx context.Context, c *call) error {
	files, err := s.locals(c.words[0])
	if err != nil {
		return err
	}
	var from []transfer.Place
	for _, f := range files {
		from = append(from, transfer.Place{Path: f})
	}
	to, err := s.target(ctx, c)
	if err != nil {
		return err
	}
	plan, err := transfer.Make(ctx, from, to, transfer.PlanOptions{Recursive: c.set["recursive"], Dereference: c.set["dereference"]})
	if err != nil {
		return err
	}
	if !single(plan) {
		return s.carryOut(ctx, plan, c)
	}
	f, err := os.Open(plan.Items[0].Source().Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.store(ctx, plan.Items[0].Target().Path, f, client.PutOptions{IfNoneMatch: c.set["no-clobber"]})
}

// target is where put goes: by default the current directory.
func (s *shell) target(ctx context.Context, c *call) (transfer.Place, error) {
	p := transfer.Place{Client: s.client, Path: s.dir}
	if len(c.words) < 2 {
		return p, nil
	}
	found, err := s.matches(ctx, c.words[1])
	switch {
	case err != nil:
		return p, err
	case len(found) > 1:
		return p, usagef("%q matches %d paths: put goes to one", c.text(1), len(found))
	case len(found) == 1:
		p.Path = found[0]
	default:
		p.Path = s.absolute(c.text(1))
	}
	return p, nil
}

// single reports whether a plan is about one file and nothing else.
func single(p *transfer.Plan) bool {
	return len(p.Items) == 1 && !p.Items[0].Dir && len(p.Skipped) == 0
}

// carryOut runs a plan of several files, under a progress bar where there is a
// terminal, and says what came of it.
func (s *shell) carryOut(ctx context.Context, plan *transfer.Plan, c *call) error {
	bar := progress.New(s.errs, plan.Bytes, browse.Count(plan.Files, "file", "files"), false)
	tell := func(err error) { bar.Say("efsc: %s", plain.Printable(s.errs, err.Error())) }
	for _, err := range plan.Skipped {
		tell(err)
	}
	if plan.Parts > 0 {
		tell(errors.New(stage.Temporaries + ": " + stage.LeftOut(plan.Parts)))
	}
	res, err := transfer.Run(ctx, plan, transfer.Options{
		NoOverwrite: c.set["no-clobber"], Progress: bar.Add,
		Failed: func(it transfer.Item, err error) {
			if ctx.Err() == nil { // who interrupts it need not be told of each file
				tell(fmt.Errorf("copying %s to %s: %w", it.Source(), it.Target(), err))
			}
		},
	})
	bar.Finish()
	fmt.Fprintf(s.out, "%s (%d bytes)", browse.Count(res.Files, "file", "files"), res.Bytes)
	if res.Kept > 0 {
		fmt.Fprintf(s.out, ", %d left as they were", res.Kept)
	}
	fmt.Fprintln(s.out)
	if err != nil {
		return err
	}
	if left := res.Failed + len(plan.Skipped); left > 0 {
		return fmt.Errorf("%d of %d not copied", left, len(plan.Items)+len(plan.Skipped))
	}
	return s.done(nil)
}

// bigEnough is from how many bytes on a transfer shows a progress bar.
const bigEnough = 1 << 20

// bar is the progress bar of one file, where it takes its time and somebody
// sees it.
func (s *shell) bar(size int64, path string) *progress.Bar {
	return progress.New(s.errs, size, plain.Safe(filepath.Base(path)), size >= 0 && size < bigEnough)
}
