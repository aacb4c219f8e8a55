package fsys

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

// tinyNames makes every directory of a few entries large, and every operation
// on its names cross the borders of blocks and runs.
func tinyNames(e *env) {
	e.names = namesLimits{large: 2, flush: 3, fanIn: 2, block: 160, chunk: 3}
}

// namesIdle does what the names of all directories need.
func (e *env) namesIdle() {
	e.t.Helper()
	for range 2 {
		for _, dir := range e.directories() {
			e.check(e.flushNames(ctx, dir))
			if err := e.mergeNames(ctx, dir); err != errNotLarge {
				e.check(err)
			}
		}
	}
}

func (e *env) directories() (dirs []efs.ID) {
	e.check(e.scan(ctx, efs.SpacePlaces, nil, scanPage, func(r *efs.Record) error {
		dirs = append(dirs, efs.ID(r.Key))
		return nil
	}))
	return dirs
}

// sameNames demands that every page of a directory be the same by its names and
// by its entries, and reports whether it has names.
func (e *env) sameNames(dir efs.ID, n int) (large bool) {
	e.t.Helper()
	from := ""
	for {
		page, ok, err := e.tryNames(ctx, dir, from, false, n)
		e.check(err)
		if !ok {
			return false
		}
		want, err := e.entriesPage(ctx, dir, from, false, n)
		e.check(err)
		if !reflect.DeepEqual(page, want) && len(page)+len(want) > 0 {
			e.t.Fatalf("after %q: %d names, %d entries:\n%s\n%s", from, len(page), len(want), keysOf(page), keysOf(want))
		}
		if len(page) == 0 {
			return true
		}
		if last := page[len(page)-1]; n > 1 {
			from = sortKey(last.Name, last.Kind)
			again, _, err := e.tryNames(ctx, dir, from, true, 1)
			if err != nil || len(again) != 1 || again[0].Name != last.Name {
				e.t.Fatalf("from %q on: %s, %v", from, keysOf(again), err)
			}
		} else {
			from = sortKey(last.Name, last.Kind)
		}
	}
}

func keysOf(page []*efs.Entry) (keys []string) {
	for _, e := range page {
		keys = append(keys, sortKey(e.Name, e.Kind))
	}
	return keys
}

func (e *env) rootOf(dir string) (efs.ID, *namesRoot) {
	e.t.Helper()
	id := must(e.directory(ctx, dir))
	r, _, err := e.namesRoot(ctx, id)
	e.check(err)
	return id, r
}

// Names and entries agree after any operations, whatever has been made of the
// names in between.
func TestNamesAreThoseOfTheEntries(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := newEnv(t, tinyNames, func(e *env) {
			e.names.block = rapid.SampledFrom([]int{16, 160, 1000}).Draw(r, "block")
			e.names.fanIn = rapid.IntRange(2, 4).Draw(r, "fan-in")
		})
		defer e.close()
		name := rapid.Custom(func(r *rapid.T) string {
			return fmt.Sprintf("%s/%02d", rapid.SampledFrom([]string{"a", "b", "a/00"}).Draw(r, "dir"), rapid.IntRange(0, 20).Draw(r, "name"))
		})
		ignore := func(error) {} // what is refused changes nothing
		kind := "text/plain"
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				_, err := e.Put(ctx, name.Draw(r, "path"), emptyBody(), PutOptions{Size: 0})
				ignore(err)
			},
			"patch": func(r *rapid.T) {
				_, err := e.Patch(ctx, name.Draw(r, "path"), PatchOptions{Type: &kind})
				ignore(err)
			},
			"mkdir": func(r *rapid.T) {
				_, err := e.Mkdir(ctx, name.Draw(r, "path"), MkdirOptions{Parents: true})
				ignore(err)
			},
			"remove": func(r *rapid.T) {
				ignore(e.Remove(ctx, name.Draw(r, "path"), RemoveOptions{Recursive: rapid.Bool().Draw(r, "recursive")}))
			},
			"move": func(r *rapid.T) {
				_, err := e.Move(ctx, name.Draw(r, "from"), name.Draw(r, "to"), MoveOptions{Overwrite: true})
				ignore(err)
			},
			"sort":   func(*rapid.T) { e.namesIdle() },
			"reopen": func(*rapid.T) { e.reopen() },
			"crash":  func(*rapid.T) { e.crash(); e.check(e.tryOpen()) },
			"": func(r *rapid.T) {
				for _, dir := range e.directories() {
					e.sameNames(dir, 4)
				}
			},
		})
		e.namesIdle()
		e.idle()
		e.clean()
		for _, dir := range e.directories() {
			if n, err := e.countEntries(ctx, dir, 3); err != nil || n > e.names.large && !e.sameNames(dir, 1) {
				t.Errorf("a directory of more than %d entries has no names, %v", e.names.large, err)
			}
		}
	})
}

// While the changed names are read, a name is changed twice: first where the
// reading has passed, then where it has yet to come.
func TestAnOlderChangeNeverCoversANewerOne(t *testing.T) {
	m := &meddling{held: make(chan struct{}), letGo: make(chan struct{})}
	e := newEnv(t, tinyNames, func(e *env) {
		e.names.flush = scanPage + 5
		e.wrap = func(o *Options) { m.Index, o.Index = o.Index, m }
	})
	for i := range 4 {
		e.put(fmt.Sprintf("d/%d", i), nil)
	}
	e.put("d/v", nil)
	e.namesIdle()
	dir, root := e.rootOf("d")
	if root == nil || len(root.Runs) == 0 {
		t.Fatal("the directory is not large")
	}
	m.hold.Store(true)
	stored := make(chan error, 1)
	go func() {
		_, err := e.Put(ctx, "d/v", emptyBody(), PutOptions{Size: 0})
		stored <- err
	}()
	<-m.held
	passed := make(chan struct{})
	meddle := func() {
		defer close(passed)
		close(m.letGo)
		if err := errors.Join(<-stored, e.Remove(ctx, "d/v", RemoveOptions{})); err != nil {
			t.Error(err)
		}
	}
	m.behind.Store(&meddle)
	for i := range e.names.flush {
		e.put(fmt.Sprintf("d/new-%04d", i), nil)
	}
	<-passed // by the flush that the last of them has asked for
	e.namesIdle()
	e.sameNames(dir, 100)
}

// A directory becomes large while it is written to, and everything that is
// confirmed meanwhile is listed.
func TestADirectoryBecomesLargeUnderWriters(t *testing.T) {
	e := newEnv(t, func(e *env) { e.names = namesLimits{large: 60, flush: 16, fanIn: 3, block: 400, chunk: 10} })
	id := must(e.Mkdir(ctx, "d", MkdirOptions{})).File
	const each = 120
	var stop atomic.Bool
	var readers sync.WaitGroup
	readers.Go(func() { // what is there all the time is listed once, in order
		e.put("d/always", nil)
		for !stop.Load() {
			keys := e.listed("d", ListOptions{Limit: 7})
			if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
				t.Errorf("out of order: %q", keys)
			}
			if !slices.Contains(keys, "always") {
				t.Error("a name that is there all the time was not listed")
			}
		}
	})
	together(6, func(i int) {
		for k := range each {
			e.put(fmt.Sprintf("d/%d-%03d", i, k), nil)
			switch k % 5 {
			case 3:
				e.check(e.Remove(ctx, fmt.Sprintf("d/%d-%03d", i, k-1), RemoveOptions{}))
			case 4:
				_, err := e.Move(ctx, fmt.Sprintf("d/%d-%03d", i, k), fmt.Sprintf("d/m%d-%03d", i, k), MoveOptions{})
				e.check(err)
			}
		}
	})
	stop.Store(true)
	readers.Wait()
	e.namesIdle()
	if !e.sameNames(id, 50) {
		t.Fatal("the directory has not become large")
	}
	if got, want := len(e.listed("d", ListOptions{})), 6*(each-each/5)+1; got != want {
		t.Errorf("%d names, want %d", got, want)
	}
	e.reopen()
	if !e.sameNames(id, 1000) {
		t.Fatal("the directory is not large after a restart")
	}
	e.clean()
}

// Each commit of what is done to names fails in turn, as a kill between two
// leaves it. What was confirmed is listed, and the work ends after a restart.
func TestWorkOnNamesIsResumed(t *testing.T) {
	for step := int32(0); ; step++ {
		e := newEnv(t, func(e *env) {
			tinyNames(e)
			e.wrap = func(o *Options) { o.Index = &stopping{Index: o.Index} }
		})
		e.work.stop() // the background rests, the rest works
		e.FS.work.ended = false
		for i := range 20 {
			e.put(fmt.Sprintf("d/%d", i*7%20), nil)
		}
		id := must(e.directory(ctx, "d"))
		index := e.o.Index.(*stopping)
		index.left.Store(step)
		index.on.Store(true)
		err := e.mergeNames(ctx, id)
		for i := 0; i < 12 && err == nil; i++ {
			index.on.Store(false)
			e.put(fmt.Sprintf("d/%d", i), data(1, 10))
			index.on.Store(true)
			if err = e.flushNames(ctx, id); err == nil {
				err = e.mergeNames(ctx, id)
			}
		}
		index.on.Store(false)
		want := must(e.entriesPage(ctx, id, "", false, 100))
		if got := e.listed("d", ListOptions{}); !slices.Equal(got, keysOf(want)) {
			t.Errorf("step %d: listed %q, want %q", step, got, keysOf(want))
		}
		e.clean()
		e.crash()
		e.check(e.tryOpen())
		e.namesIdle()
		if !e.sameNames(id, 3) {
			t.Errorf("step %d: no names after a restart", step)
		}
		_, root := e.rootOf("d")
		if n := e.runs(id); n != len(root.Runs) {
			t.Errorf("step %d: %d runs are there, the root has %d", step, n, len(root.Runs))
		}
		e.clean()
		e.close()
		if err == nil {
			if step < 20 {
				t.Errorf("only %d steps", step)
			}
			break
		}
	}
}

// runs counts the runs of which there are blocks.
func (e *env) runs(dir efs.ID) (n int) {
	last := uint64(1 << 63)
	e.check(e.scan(ctx, efs.SpaceNames, namesKey(dir, namesRunTag), scanPage, func(r *efs.Record) error {
		number, err := runNumber(r.Key)
		if number != last {
			n, last = n+1, number
		}
		return err
	}))
	return n
}

// A large directory that is deleted leaves no names, whether it was empty or
// not.
func TestNamesGoWithTheirDirectory(t *testing.T) {
	for _, recursive := range []bool{false, true} {
		e := newEnv(t, tinyNames)
		for i := range 30 {
			e.put(fmt.Sprintf("d/%d", i), nil)
		}
		e.namesIdle()
		if id, root := e.rootOf("d"); root == nil || !e.sameNames(id, 10) {
			t.Fatal("the directory has no names")
		}
		if !recursive {
			e.refused("removing what is not empty", e.Remove(ctx, "d", RemoveOptions{}), efs.ErrNotEmpty)
			for i := range 30 {
				e.check(e.Remove(ctx, fmt.Sprintf("d/%d", i), RemoveOptions{}))
			}
		}
		e.check(e.Remove(ctx, "d", RemoveOptions{Recursive: recursive}))
		e.idle()
		if n := e.records(efs.SpaceNames); n != 0 {
			t.Errorf("recursive %t: %d records of names are left", recursive, n)
		}
		e.clean()
	}
}

// Whatever is done to a record of names is noticed, listings are right all the
// same, and repair makes them anew.
func TestDamagedNamesAreFoundAndMadeAnew(t *testing.T) {
	for what, alter := range map[string]func(*env, efs.ID, *efs.Record) bool{
		"root altered": func(e *env, id efs.ID, r *efs.Record) bool {
			return r.Key[16] == namesRootTag && flip(r)
		},
		"block altered": func(e *env, id efs.ID, r *efs.Record) bool {
			return r.Key[16] == namesRunTag && flip(r)
		},
		"block gone": func(e *env, id efs.ID, r *efs.Record) bool {
			r.Sealed = nil
			return r.Key[16] == namesRunTag
		},
		"change altered": func(e *env, id efs.ID, r *efs.Record) bool {
			return r.Key[16] == namesChangeTag && flip(r)
		},
		"change gone": func(e *env, id efs.ID, r *efs.Record) bool {
			r.Sealed = nil
			return r.Key[16] == namesChangeTag
		},
		"name without an entry": func(e *env, id efs.ID, r *efs.Record) bool {
			t := e.begin(Who{})
			e.check(t.changeName(nil, &noted{dir: id, key: "none", entry: t.newDir("none")}))
			*r = efs.Record{Key: t.t.Mutations[0].Key.Bytes, Sealed: t.t.Mutations[0].Sealed}
			return true
		},
		"root gone": func(e *env, id efs.ID, r *efs.Record) bool {
			r.Sealed = nil
			return r.Key[16] == namesRootTag
		},
	} {
		t.Run(what, func(t *testing.T) {
			e := newEnv(t, func(e *env) { e.names = namesLimits{large: 8, flush: 9, fanIn: 3, block: 400, chunk: 1000} })
			for i := range 20 {
				e.put(fmt.Sprintf("d/%d", i), nil)
			}
			e.namesIdle()
			for i := range 5 {
				e.put(fmt.Sprintf("d/late-%d", i), nil)
			}
			id := must(e.directory(ctx, "d"))
			e.sameNames(id, 10)
			e.reopen()
			e.work.stop() // so that only this test looks at the names
			e.FS.work.ended = false
			done := false
			e.check(e.scan(ctx, efs.SpaceNames, id[:], scanPage, func(r *efs.Record) error {
				if !done && alter(e, id, r) {
					done = true
					e.alter(efs.Key{Space: efs.SpaceNames, Bytes: r.Key}, r.Sealed)
				}
				return nil
			}))
			if !done {
				t.Fatal("nothing was altered")
			}
			e.reports(what, ProblemNames)
			if what != "name without an entry" && what != "change gone" {
				if got := e.listed("d", ListOptions{Limit: 6}); len(got) != 25 {
					t.Errorf("%d names are listed: %q", len(got), got)
				}
			}
			r, err := e.Fsck(ctx, FsckOptions{Repair: true})
			if err != nil || len(r.Problems) != 1 || !r.Problems[0].Repaired {
				t.Fatalf("repair: %+v, %v", r, err)
			}
			e.clean()
			e.check(e.mergeNames(ctx, id))
			if !e.sameNames(id, 4) {
				t.Error("no names after repair")
			}
			if got := e.listed("d", ListOptions{Limit: 6}); len(got) != 25 {
				t.Errorf("%d names after repair: %q", len(got), got)
			}
			e.clean()
		})
	}
}

func flip(r *efs.Record) bool { r.Sealed[len(r.Sealed)-1] ^= 1; return true }

// Runs stay few, their levels low, and what a page reads does not depend on
// how many names there are.
func TestAPageReadsFewBlocks(t *testing.T) {
	e := newEnv(t, func(e *env) { e.names = namesLimits{large: 100, flush: 64, fanIn: 4, block: 1000, chunk: 512} })
	e.work.stop()
	e.FS.work.ended = false
	id := must(e.Mkdir(ctx, "d", MkdirOptions{})).File
	order := rand.New(rand.NewPCG(1, 2)).Perm(3000)
	for i, n := range order {
		e.put(fmt.Sprintf("d/%04d", n), nil)
		if i%64 == 63 {
			e.check(e.flushNames(ctx, id))
			e.check(e.mergeNames(ctx, id))
		}
	}
	_, root := e.rootOf("d")
	if n := len(root.Runs); n > 3*4 {
		t.Errorf("%d runs", n)
	}
	counted := &counting{Index: e.o.Index}
	e.o.Index = counted
	for _, from := range []string{"", "1500", "2900"} {
		counted.gets.Store(0)
		page, ok, err := e.tryNames(ctx, id, from, false, 50)
		if err != nil || !ok || len(page) != 50 {
			t.Fatalf("%d names, %t, %v", len(page), ok, err)
		}
		// Two for the root, a way down each run, and the blocks of 50 names.
		if n := int(counted.gets.Load()); n > 2+4*len(root.Runs)+25 {
			t.Errorf("a page of 50 after %q reads %d records", from, n)
		}
	}
	e.sameNames(id, 999)
}

// Names that are gone do not stay for ever.
func TestDeletedNamesAreMergedAway(t *testing.T) {
	e := newEnv(t, func(e *env) { e.names = namesLimits{large: 50, flush: 20, fanIn: 4, block: 1000, chunk: 512} })
	for i := range 400 {
		e.put(fmt.Sprintf("d/%04d", i), nil)
	}
	e.namesIdle()
	for i := range 400 {
		e.check(e.Remove(ctx, fmt.Sprintf("d/%04d", i), RemoveOptions{}))
		if i%20 == 0 {
			e.namesIdle()
		}
	}
	e.namesIdle()
	id, root := e.rootOf("d")
	items := int64(0)
	for _, r := range root.Runs {
		items += r.Items
	}
	if items > 100 {
		t.Errorf("runs hold %d items of an empty directory", items)
	}
	e.sameNames(id, 10)
	e.clean()
}

func TestBlocksOfNamesAreReadWithCare(t *testing.T) {
	good := appendItem(nil, "", item{"abc", []byte("1")})
	good = appendItem(good, "abc", item{"abd", nil})
	items, err := readItems(good)
	if err != nil || len(items) != 2 || items[1].key != "abd" || len(items[1].value) != 0 {
		t.Fatalf("%v, %v", items, err)
	}
	for n := range len(good) {
		if items, err := readItems(good[:n]); err == nil && len(items) == 2 {
			t.Errorf("cut off at %d: %v", n, items)
		}
	}
	for _, bad := range [][]byte{
		{1, 1, 'a', 0},                 // shares with nothing
		{0, 1, 'b', 0, 0, 1, 'a', 0},   // descends
		{0, 1, 'b', 0, 1, 0, 0},        // the same again
		{0, 0, 0},                      // no key
		{0, 255, 255, 255, 255, 15, 1}, // longer than the block
	} {
		if items, err := readItems(bad); err == nil {
			t.Errorf("% x: %v", bad, items)
		}
	}
}

// waitForNames waits until the background has made the names of a directory.
func (e *env) waitForNames(dir efs.ID) {
	e.t.Helper()
	for range 1000 {
		if r, _, err := e.namesRoot(ctx, dir); err == nil && r != nil && !r.Building {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	e.t.Fatal("no names are made")
}

// Storing into a directory makes it large without anybody listing it; so does
// listing one that was stored into before names were kept.
func TestWhoMakesNames(t *testing.T) {
	e := newEnv(t, func(e *env) { e.names = namesLimits{large: 40, flush: 16, fanIn: 4, block: 1000, chunk: 20} })
	id := must(e.Mkdir(ctx, "stored", MkdirOptions{})).File
	for i := range 60 {
		e.put(fmt.Sprintf("stored/%d", i), nil)
	}
	e.waitForNames(id)
	e.names.large = 1000
	e.reopen()
	id = must(e.Mkdir(ctx, "listed", MkdirOptions{})).File
	for i := range 60 {
		e.put(fmt.Sprintf("listed/%d", i), nil)
	}
	e.names.large = 40
	e.reopen()
	if _, root := e.rootOf("listed"); root != nil {
		t.Fatal("names were made too early")
	}
	e.listed("listed", ListOptions{Limit: 3})
	e.waitForNames(id)
	e.sameNames(id, 7)
	e.clean()
}
