package fsys

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/efs-project/efs"
)

// Files go in and out of erasure units while the policy changes, contents are
// brought to it and epochs are retired: all of it ends, and nothing is lost.
func TestPoliciesUnitsAndEpochsAtOnce(t *testing.T) {
	e := newEnv(t, patients)
	const files = 24
	size := func(i int) int { return []int{200, 3000, 30_000}[i%3] }
	for i := range files {
		e.put(fmt.Sprint("out/f", i), data(uint64(i), size(i)))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			at := map[int]string{}
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := r.IntN(files/3)*3 + w // its own files
				if at[i] == "" {
					at[i] = fmt.Sprint("out/f", i)
				}
				to := fmt.Sprintf("patients/%d/f%d", r.IntN(3), i)
				if r.IntN(2) == 0 {
					to = fmt.Sprint("out/f", i)
				}
				if to == at[i] {
					continue
				}
				if _, err := e.Move(ctx, at[i], to, MoveOptions{}); err != nil {
					t.Errorf("moving: %v", err)
					return
				}
				at[i] = to
				e.holds(to, data(uint64(i), size(i)))
			}
		})
	}
	for round := range 4 {
		e.set(func(p *efs.Policy) { p.InlineLimit = 1000 + 1000*round })
		j, err := e.Reseal(ctx, ResealOptions{})
		e.check(err)
		e.set(func(p *efs.Policy) { p.Padding = []string{"none", "padme"}[round%2] })
		if j = e.ended(j); j.State != JobDone {
			t.Errorf("sealing anew came to %+v", j)
		}
		e.retire(round + 1)
	}
	close(stop)
	wg.Wait()
	e.idle()
	if r := e.clean(); r.Files != files || !r.UsageChecked {
		t.Errorf("fsck found %+v", r)
	}
}
