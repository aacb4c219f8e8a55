// Command bench measures EFS beside MinIO with server-side encryption and
// nginx (no encryption, no sync: the ceiling) on one machine, in interleaved
// rounds, and beside what the machine itself can do. `make bench` runs it;
// docs/performance.md explains the figures.
package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	bin, minio, nginx string
	rounds            int
	each              time.Duration
	only              string
	quick             bool
	out, dir          string
	publish           bool
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.bin, "bin", "../bin", "directory of the EFS binaries")
	flag.StringVar(&o.minio, "minio", ".peers/minio", "MinIO binary; empty: leave it out")
	flag.StringVar(&o.nginx, "nginx", "nginx", "nginx binary; empty: leave it out")
	flag.BoolVar(&o.quick, "quick", false, "about 3 minutes instead of 20: fewer and shorter rounds, smaller uploads")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds; each measures every target in turn (default 5 and for the largest files 7, quick 3)")
	flag.DurationVar(&o.each, "each", 0, "how long each work runs on each target in each round (default 4s, quick 1s)")
	flag.StringVar(&o.only, "only", "", "run these only, with commas between: "+strings.Join(stepNames(), ", "))
	flag.StringVar(&o.out, "out", "results/latest.json", "results file; a table is written beside it")
	flag.StringVar(&o.dir, "dir", "", "where the servers keep their data (default: a new directory here)")
	flag.BoolVar(&o.publish, "publish", false, "write the table and the figure of the results file into ../docs; measure nothing")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("bench: %q is no flag", flag.Arg(0))
	}
	if o.rounds < 0 || o.each < 0 {
		log.Fatal("bench: -rounds and -each are not negative")
	}
	if o.publish {
		if err := publish(o.out, "../docs"); err != nil {
			log.Fatal("bench: ", err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		log.Fatal("bench: ", err)
	}
}

// bench is a run.
type bench struct {
	bin     string
	dir     string // where data is kept
	quick   bool
	rounds  int // 0: as many as a work asks for
	each    time.Duration
	targets []Target
	rep     *Report
	plan    plan
}

// A step is a part of a run, with how long it takes about.
type step struct {
	name string
	cost time.Duration
	run  func(context.Context) error
}

// stepNames are what -only understands.
func stepNames() []string {
	names := []string{"limits"}
	for _, w := range works {
		names = append(names, w.Name)
	}
	return append(names, "mixed", "memory", "seal")
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{quick: o.quick, rounds: o.rounds, each: o.each}
	if b.each == 0 {
		b.each = 4 * time.Second
		if o.quick {
			b.each = time.Second
		}
	}
	if b.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if b.targets, err = o.targets(b.bin); err != nil {
		return err
	}
	steps, err := b.steps(o.only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(cmp.Or(o.dir, "."), "data-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	start := time.Now()
	b.rep = &Report{Time: start.UTC().Truncate(time.Second), Machine: thisMachine(b.dir), Build: fingerprint(b.bin), Peers: o.versions(), Quick: o.quick,
		Rounds: b.roundsOf(Work{}), Seconds: b.each.Seconds(), Suites: map[string]string{}, Results: map[string]map[string][]Result{}}
	defer func() {
		for _, t := range b.targets {
			t.Stop()
		}
	}()
	b.plan = newPlan(steps)
	for _, s := range steps {
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.plan.done(s.cost)
	}
	b.rep.Took = time.Since(start)
	return b.finish(o.out)
}

func (o options) targets(bin string) ([]Target, error) {
	targets := []Target{&efsServer{bin: bin}}
	if o.minio != "" {
		targets = append(targets, &minioServer{bin: o.minio})
	}
	if o.nginx != "" {
		targets = append(targets, &nginxServer{bin: o.nginx})
	}
	for name, file := range map[string]string{"bin": filepath.Join(bin, "efs-server"), "minio": o.minio, "nginx": o.nginx} {
		if file == "" {
			continue
		}
		if _, err := exec.LookPath(file); err != nil {
			return nil, fmt.Errorf("%s is missing: run `make build` and `scripts/deps bench`, or leave a peer out with -%s ''", file, name)
		}
	}
	return targets, nil
}

// versions tells which peers are measured.
func (o options) versions() map[string]string {
	v := map[string]string{}
	if info, err := buildinfo.ReadFile(o.minio); err == nil {
		v["minio"] = info.Main.Version
	}
	if o.nginx == "" {
		return v
	}
	if out, err := exec.Command(o.nginx, "-v").CombinedOutput(); err == nil {
		_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
		v["nginx"] = version
	}
	return v
}

// steps are what is to be run, in this order: what the machine can do, the
// targets beside each other, EFS alone.
func (b *bench) steps(only string) ([]step, error) {
	wanted := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for _, name := range wanted {
		if !slices.Contains(stepNames(), name) {
			return nil, fmt.Errorf("there is no work %q; there are: %s", name, strings.Join(stepNames(), ", "))
		}
	}
	scale := func(quick, full time.Duration) time.Duration {
		if b.quick {
			return quick
		}
		return full
	}
	var all []step
	limit := scale(500*time.Millisecond, 2*time.Second)
	limits := step{"limits", 8 * limit, func(ctx context.Context) error { return b.limits(ctx, limit) }}
	all = append(all, limits)
	servers := false
	for _, w := range works {
		if only != "" && !slices.Contains(wanted, w.Name) {
			continue
		}
		servers = true
		all = append(all, step{w.Name, b.cost(w), func(ctx context.Context) error { return b.measure(ctx, w) }})
	}
	all = append(all,
		step{"mixed", scale(20*time.Second, 4*time.Minute), b.mixed},
		step{"memory", scale(15*time.Second, 2*time.Minute), b.memory},
		step{"seal", scale(25*time.Second, time.Minute), b.sealed},
		limits)
	if only != "" {
		all = slices.DeleteFunc(all, func(s step) bool { return !slices.Contains(wanted, s.name) })
	}
	if servers || slices.ContainsFunc(all, func(s step) bool { return s.name == "mixed" }) {
		all = slices.Insert(all, 0, step{"start", 3 * time.Second, b.start})
	}
	return all, nil
}

// start starts the servers and notes which TLS each speaks.
func (b *bench) start(ctx context.Context) error {
	for _, t := range b.targets {
		dir := filepath.Join(b.dir, t.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := t.Start(ctx, dir); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
		c, err := dial(ctx, t, time.Now().Add(10*time.Second))
		if err != nil {
			return err
		}
		b.rep.Suites[t.Name()] = c.suite()
		c.Close()
		b.say("start      %-6s %s", t.Name(), b.rep.Suites[t.Name()])
	}
	return nil
}

// roundsOf tells how many rounds a work has.
func (b *bench) roundsOf(w Work) int {
	switch {
	case b.rounds > 0:
		return b.rounds
	case b.quick:
		return 3
	}
	return max(5, w.Rounds)
}

// cost estimates how long a work takes, with what is done between rounds.
func (b *bench) cost(w Work) time.Duration {
	n := 0
	for _, t := range b.targets {
		if w.on(t) {
			n++
		}
	}
	if w.Disk {
		n++
	}
	cost := time.Duration(n*b.roundsOf(w)) * b.each
	if w.large() {
		cost = cost * 3 / 2
	}
	return cost + time.Second
}

// measure runs one work in interleaved rounds, so that a busy moment of a
// shared machine falls on all targets alike.
func (b *bench) measure(ctx context.Context, w Work) error {
	res := map[string][]Result{}
	var on []Target
	for _, t := range b.targets {
		if !w.on(t) {
			continue
		}
		on = append(on, t)
		if err := prepare(ctx, t, w); err != nil {
			return fmt.Errorf("%s: preparing: %w", t.Name(), err)
		}
	}
	drain()
	var seq atomic.Int64
	for i := range b.roundsOf(w) {
		for k := range on {
			t := on[(i+k)%len(on)] // each is first in its turn
			before := seq.Load()
			r, err := load(ctx, t, w, b.each, &seq)
			if err != nil {
				return fmt.Errorf("%s: %w", t.Name(), err)
			}
			b.say("%-10s round %d  %-6s %s", w.Name, i+1, t.Name(), r)
			res[t.Name()] = append(res[t.Name()], r)
			if w.large() && r.Errors == 0 {
				if err := remove(ctx, t, w, before+1, seq.Load()); err != nil {
					return err
				}
			}
			if w.Method != "GET" {
				drain()
			}
		}
		if w.Disk {
			r, err := diskRound(ctx, b.dir, w, b.each)
			if err != nil {
				return err
			}
			b.say("%-10s round %d  %-6s %s", w.Name, i+1, "disk", r)
			res["disk"] = append(res["disk"], r)
			drain()
		}
	}
	b.rep.Results[w.Name] = res
	return nil
}

// mixed measures small stores beside uploads, on the servers that sync.
func (b *bench) mixed(ctx context.Context) error {
	rounds, size, alone := 3, int64(1<<30), 8*time.Second
	if b.quick {
		rounds, size, alone = 1, 256<<20, 2*time.Second
	}
	if b.rounds > 0 {
		rounds = b.rounds
	}
	b.rep.Mixed = map[string][]Mixed{}
	var seq atomic.Int64
	for i := range rounds {
		for _, t := range b.targets {
			if t.Name() == "nginx" {
				continue
			}
			m, err := mixed(ctx, t, size, alone, &seq)
			if err != nil {
				return fmt.Errorf("%s: %w", t.Name(), err)
			}
			b.say("mixed      round %d  %-6s %s", i+1, t.Name(), m)
			b.rep.Mixed[t.Name()] = append(b.rep.Mixed[t.Name()], m)
		}
	}
	return nil
}

// finish writes what was found and fails if anything went wrong on the way.
func (b *bench) finish(out string) error {
	if err := b.rep.save(out); err != nil {
		return err
	}
	table := b.rep.markdown()
	if err := write(strings.TrimSuffix(out, ".json")+".md", []byte(table)); err != nil {
		return err
	}
	fmt.Print("\n", plainTable(table))
	if n, first := b.rep.errors(); n > 0 {
		return fmt.Errorf("%d requests failed, the first with: %s", n, first)
	}
	return nil
}

// plan knows how much of a run is left.
type plan struct {
	total, over time.Duration // as planned
	start, step time.Time     // when the run and its present step began
}

func newPlan(steps []step) plan {
	p := plan{start: time.Now(), step: time.Now()}
	for _, s := range steps {
		p.total += s.cost
	}
	return p
}

// done ends a step that was planned to take so long.
func (p *plan) done(cost time.Duration) {
	p.over += cost
	p.step = time.Now()
}

// left estimates from what was planned and how far that was right until now.
func (p *plan) left() time.Duration {
	pace := 1.0
	if p.over > 30*time.Second {
		pace = float64(p.step.Sub(p.start)) / float64(p.over)
	}
	return max(0, time.Duration(float64(p.total-p.over)*pace)-time.Since(p.step))
}

// say prints a line beginning with how much time is left.
func (b *bench) say(format string, args ...any) {
	left := b.plan.left().Round(time.Second)
	log.Printf("%2d:%02d left  "+format, append([]any{int(left.Minutes()), int(left.Seconds()) % 60}, args...)...)
}
