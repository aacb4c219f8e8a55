package policyset

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestSettingsChangeWhatTheySay(t *testing.T) {
	p, err := Apply(efs.DefaultPolicy(), []string{
		"algorithm=CHACHA20_POLY1305", "kms_key_id=vault/my-key", "compression=zstd", "padding=none",
		"inline_limit=4KiB", "segment_size=131072", "erasure_unit=/patients/*", "kms_key_id=other",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := efs.Policy{
		Version: 1, Stages: []efs.StagePolicy{{Algorithm: efs.ChaCha20Poly1305, Provider: "vault", KeyID: "other"}},
		Compression: "zstd", Padding: "none", InlineLimit: 4096, SegmentSize: 128 << 10, ErasureUnit: "/patients/*",
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("came to %+v, want %+v", p, want)
	}
	if got := Diff(efs.DefaultPolicy(), p); len(got) != 6 || got[1] != "compression: none → zstd" || got[5] != "erasure_unit: '' → /patients/*" {
		t.Errorf("the difference is told as %q", got)
	}
}

func TestWhatIsShownCanBeSet(t *testing.T) {
	p := efs.DefaultPolicy()
	p.Stages = append(p.Stages, efs.StagePolicy{Algorithm: efs.ChaCha20Poly1305, Provider: "vault", KeyID: "k/with/slashes"})
	var changes []string
	for _, row := range Show(p) {
		changes = append(changes, row[0]+"="+row[1])
	}
	got, err := Apply(efs.Policy{Version: 1}, changes)
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%q came to %+v, %v", changes, got, err)
	}
}

func TestBadSettingsSayWhatIsWrong(t *testing.T) {
	two := efs.DefaultPolicy()
	two.Stages = append(two.Stages, two.Stages[0])
	for _, c := range []struct {
		policy       efs.Policy
		change, says string
	}{
		{efs.DefaultPolicy(), "compression", "KEY=VALUE"},
		{efs.DefaultPolicy(), "colour=red", "it has algorithm, kms_key_id, stages"},
		{efs.DefaultPolicy(), "inline_limit=much", "no size"},
		{efs.DefaultPolicy(), "inline_limit=-1", "no size"},
		{efs.DefaultPolicy(), "stages=AES256", "no stage such as"},
		{efs.DefaultPolicy(), "stages=AES256:local/a,", "no stage such as"},
		{efs.DefaultPolicy(), "kms_key_id=", "no key such as"},
		{efs.DefaultPolicy(), "fan_out=x", "no number"},
		{two, "algorithm=AES256", "stages="},
		{two, "kms_key_id=a", "stages="},
	} {
		_, err := Apply(c.policy, []string{c.change})
		if !errors.Is(err, efs.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", c.change, err, c.says)
		}
	}
}

func TestTheGivenPolicyStaysAsItIs(t *testing.T) {
	p := efs.DefaultPolicy()
	if _, err := Apply(p, []string{"algorithm=CHACHA20_POLY1305"}); err != nil || !reflect.DeepEqual(p, efs.DefaultPolicy()) {
		t.Errorf("it became %+v, %v", p, err)
	}
}
