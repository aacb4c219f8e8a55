// Command dist makes the archives of a release, an SBOM of what is in them and
// their checksums. The same sources, version and Go release make the same bytes,
// wherever and whenever it runs; docs/releases.md says what is in them.
//
//	go run ./internal/dist -out dist -version v1.2.3 -time 1795190400
//
// It is not part of a release itself: make dist runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var r release
	var targets, commands string
	var seconds int64
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	flags.StringVar(&r.out, "out", "dist", "directory to write; what a release left there is replaced")
	flags.StringVar(&r.version, "version", "", "version, which the binaries print")
	flags.Int64Var(&seconds, "time", 0, "time of all files in archives, in seconds since 1970; the commit's")
	flags.StringVar(&targets, "targets", "", "only these, OS/ARCH,…")
	flags.StringVar(&commands, "commands", "", "only these, NAME,…")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if r.version == "" {
		return errors.New("-version is needed")
	}
	r.time = time.Unix(seconds, 0).UTC()
	r.targets = choose(releases, targets, func(t target) string { return t.String() })
	r.commands = choose(all, commands, func(c string) string { return c })
	if len(r.targets) == 0 || len(r.commands) == 0 {
		return fmt.Errorf("nothing of -targets %s or -commands %s is known", targets, commands)
	}
	return r.make(ctx)
}

// choose returns what of list is named; all of it if no name is given.
func choose[T any](list []T, names string, name func(T) string) (chosen []T) {
	for _, v := range list {
		if names == "" || strings.Contains(","+names+",", ","+name(v)+",") {
			chosen = append(chosen, v)
		}
	}
	return chosen
}
