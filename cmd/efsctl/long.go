package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// long has the server do what takes long, with bar on a terminal meanwhile, and
// prints what came of it: JSON, or by show. What was not done ends with
// exitUsage.
func long[R, T any](c *ctl, cmd *cobra.Command, bar func(admin.Progress), op func(*admin.Client, context.Context, R) (T, error), r R, show func(*cobra.Command, T)) (T, error) {
	client := c.client(cmd)
	clear := showProgress(client, bar)
	done, err := op(client, cmd.Context(), r)
	clear()
	switch {
	case err != nil:
		return done, codedError{err, exitUsage}
	case c.json:
		return done, printJSON(cmd, done)
	}
	show(cmd, done)
	return done, nil
}

// showProgress draws bar on a terminal while a command runs; clear ends that.
func showProgress(client *admin.Client, bar func(admin.Progress)) (clear func()) {
	if !isTerminal(os.Stderr) {
		return func() {}
	}
	client.Progress = bar
	return func() { fmt.Fprint(os.Stderr, "\r\033[K") }
}

// countProgress shows how far an operation has come that counts things.
func countProgress(what string) func(admin.Progress) {
	return progressBar(what, progressbar.OptionShowIts())
}

// bytesProgress shows how far an operation has come that counts bytes.
func bytesProgress(what string) func(admin.Progress) {
	return progressBar(what, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
}

func progressBar(what string, unit ...progressbar.Option) func(admin.Progress) {
	var bar *progressbar.ProgressBar
	return func(p admin.Progress) {
		total := p.Total
		if total == 0 {
			total = -1
		}
		if bar == nil {
			bar = progressbar.NewOptions64(total, append(unit, progressbar.OptionSetDescription(what),
				progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())...)
		}
		bar.ChangeMax64(total)
		_ = bar.Set64(p.Done) // a bar that cannot be drawn stops nothing
	}
}
