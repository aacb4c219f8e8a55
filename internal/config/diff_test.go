package config

import "testing"

func TestDiff(t *testing.T) {
	was, err := load(t, "[limits]\nbody = '1GiB'\n[log]\nlevel = 'info'\n", []string{"EFS_LIMITS_UPLOADS=7"}, []string{"--listen", ":1"})
	if err != nil {
		t.Fatal(err)
	}
	now, err := load(t, "[limits]\nbody = '2GiB'\nheader = '64KiB'\n[[kms.provider]]\nname='v'\ntype='vault'\ntoken='canary'\n", []string{"EFS_LIMITS_UPLOADS=7"}, []string{"--listen", ":1"})
	if err != nil {
		t.Fatal(err)
	}
	got := was.Diff(now)
	want := []Change{
		{Key: "limits.body", Old: `"1GiB"`, New: `"2GiB"`, Live: true},
		{Key: "limits.header", Old: `"32KiB"`, New: `"64KiB"`},
		{Key: "kms.provider"},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, not %+v", got[i], want[i])
		}
	}
	in, err := was.With(now)
	if err != nil {
		t.Fatal(err)
	}
	if in.Limits.Body != 2<<30 || in.Limits.Header != 32<<10 || in.Limits.Uploads != 7 || len(in.KMS.Providers) != 0 || in.Server.Listen != ":1" {
		t.Errorf("in force: %+v", in)
	}
	if left := in.Diff(now); len(left) != 2 || left[0] != want[1] || left[1] != want[2] {
		t.Errorf("what still needs a restart: %+v", left)
	}
}
