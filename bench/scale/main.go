// Command scale measures what becomes of EFS as a file system grows to
// millions of small files: rates of stores, lookups, pages of names, the size
// of the index, deleting, restarts and memory. `make bench-scale` runs it; see
// README.md.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	var p plan
	flag.IntVar(&p.Files, "files", 10_000_000, "files of 1 KiB")
	flag.IntVar(&p.Dirs, "dirs", 10_000, "directories that they lie in")
	flag.IntVar(&p.Big, "big", 1_000_000, "files of 1 KiB in one directory more")
	flag.IntVar(&p.Sample, "sample", 0, "files of each measured run of stores (default: 100,000, or less in small runs)")
	flag.BoolVar(&p.Scatter, "scatter", false, "let the bulk of the files go round the directories too, instead of filling one after the other")
	bin := flag.String("bin", "../bin", "directory of the EFS binaries")
	out := flag.String("out", "results/scale.json", "results file")
	dir := flag.String("dir", "", "where the data lies meanwhile (default: a new directory here)")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("bench-scale: %q is no flag", flag.Arg(0))
	}
	if p.Sample == 0 {
		p.Sample = max(1, min(100_000, p.Files/10, p.Big/4))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, p, *bin, *dir, *out); err != nil {
		log.Fatal("bench-scale: ", err)
	}
}

// run carries p out in a new directory, which it removes again, and saves the
// report.
func run(ctx context.Context, p plan, bin, dir, out string) error {
	if err := p.check(); err != nil {
		return err
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(cmp.Or(dir, ".")); err != nil {
		return err
	}
	if err := p.checkSpace(dir); err != nil {
		return err
	}
	if dir, err = os.MkdirTemp(dir, "data-scale-"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{plan: p, server: server{bin: bin, dir: dir}, begun: time.Now()}
	defer b.server.stop(syscall.SIGKILL)
	b.report = Report{Time: time.Now(), Build: fingerprint(bin), Plan: p, Anon: map[string]int64{}}
	if err := b.run(ctx); err != nil {
		return err
	}
	b.report.Took = time.Since(b.begun)
	b.report.judge()
	b.report.print(os.Stdout)
	return b.report.save(out)
}

// fingerprint tells which build was measured.
func fingerprint(bin string) string {
	b, err := os.ReadFile(filepath.Join(bin, "efs-server"))
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
