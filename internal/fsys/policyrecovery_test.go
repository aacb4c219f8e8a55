package fsys

import (
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

func TestTheRecoveryRecipientFollowsThePolicy(t *testing.T) {
	e := newEnv(t)
	k, err := seal.GenerateKeyPair()
	e.check(err)
	recipient := k.Public().String()
	p := e.set(func(p *efs.Policy) { p.Recovery = recipient })
	if p.Version != 2 || e.o.Keys.Recovery() != recipient {
		t.Fatalf("version %d, the keyring's recipient is %q", p.Version, e.o.Keys.Recovery())
	}
	if _, err := e.trySet(func(p *efs.Policy) { p.Recovery = "efs1nonsense" }); err == nil {
		t.Error("a recipient that is no key was taken")
	}
	// Killed between the keys and the policy: the policy holds.
	e.check(e.o.Keys.SetRecovery(ctx, ""))
	e.reopen()
	if got := e.o.Keys.Recovery(); got != recipient {
		t.Errorf("after the next start the keyring's recipient is %q", got)
	}
	e.set(func(p *efs.Policy) { p.Recovery = "" })
	if got := e.o.Keys.Recovery(); got != "" {
		t.Errorf("without one in the policy it is %q", got)
	}
}
