package fsys

import (
	"fmt"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// What lies in erasure units is sealed with keys of their own: retiring an
// epoch wraps those anew and leaves the contents; a new policy reaches them,
// and they stay in their units.
func TestContentsOfUnitsStayInThemWhenTheyAreSealedAnew(t *testing.T) {
	e := newEnv(t, patients)
	for i := range 6 {
		e.put(fmt.Sprintf("patients/%d/small", i%2), data(uint64(i), inlineSize))
		e.put(fmt.Sprintf("patients/%d/d/large", i%2), data(uint64(i), blobSize))
	}
	e.put("staff/large", data(9, blobSize))
	units := []efs.ID{e.unitAt("patients/0"), e.unitAt("patients/1")}
	before := must(e.Stat(ctx, "patients/0/d/large"))
	if j := e.retire(1); j.Files != 1 {
		t.Errorf("retiring an epoch came to %+v", j)
	}
	if after := must(e.Stat(ctx, "patients/0/d/large")); after.Extents[0] != before.Extents[0] {
		t.Errorf("%+v became %+v", before.Extents[0], after.Extents[0])
	}
	e.set(func(p *efs.Policy) { p.Stages[0].Algorithm = efs.ChaCha20Poly1305 })
	j, err := e.Reseal(ctx, ResealOptions{})
	e.check(err)
	if j = e.ended(j); j.State != JobDone || j.Files != 5 {
		t.Errorf("sealing anew came to %+v", j)
	}
	for i, u := range units {
		for _, path := range []string{fmt.Sprintf("patients/%d/small", i), fmt.Sprintf("patients/%d/d/large", i)} {
			e.sealedFor(path, u)
			if got := e.stages(path); got[0] != seal.ChaCha20Poly1305 {
				t.Errorf("%s is sealed by %v", path, got)
			}
		}
	}
	e.reopen()
	e.holds("patients/0/small", data(4, inlineSize))
	e.holds("patients/1/d/large", data(5, blobSize))
	e.clean()

	// What was forgotten is passed over.
	e.destroy("patients/1")
	e.put("patients/0/more", data(7, blobSize))
	e.set(func(p *efs.Policy) { p.Stages[0].Algorithm = efs.AES256 })
	j, err = e.Reseal(ctx, ResealOptions{})
	e.check(err)
	if j = e.ended(j); j.State != JobDone || j.Files != 4 {
		t.Errorf("sealing anew came to %+v", j)
	}
	e.holds("patients/0/d/large", data(4, blobSize))
	e.holds("staff/large", data(9, blobSize))
}
