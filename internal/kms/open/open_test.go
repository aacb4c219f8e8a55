package open

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
)

// The tests add a type of their own: what it opens is told by its options.
type testOptions struct {
	Address string        `koanf:"address"`
	Wait    time.Duration `koanf:"wait"`
	Fail    bool          `koanf:"fail"`
}

func (o *testOptions) Validate() error {
	if o.Address == "" {
		return errors.New("address is missing")
	}
	return nil
}

type testKMS struct {
	efs.KMS // none of its methods is called
	name    string
	options testOptions
	closed  bool
}

func (k *testKMS) Close() error {
	k.closed = true
	return nil
}

var opened []*testKMS

var _ = add("test", func(_ context.Context, name string, o testOptions) (*testKMS, error) {
	if o.Fail {
		return nil, errors.New("no such socket")
	}
	k := &testKMS{name: name, options: o}
	opened = append(opened, k)
	return k, nil
})

func provider(name string, options map[string]any) config.Provider {
	return config.Provider{Name: name, Type: "test", Options: options}
}

func TestOptionsReachTheProvider(t *testing.T) {
	opened = nil
	all, err := Providers(t.Context(), []config.Provider{provider("a", map[string]any{"address": "x", "wait": "1m"})})
	if err != nil {
		t.Fatal(err)
	}
	k := all["a"].(*testKMS)
	if k.name != "a" || k.options != (testOptions{Address: "x", Wait: time.Minute}) {
		t.Errorf("%+v", k)
	}
	if err := Close(all); err != nil || !k.closed {
		t.Errorf("closed %v, %v", k.closed, err)
	}
}

func TestCheck(t *testing.T) {
	err := Check([]config.Provider{
		provider("a", map[string]any{"addres": "x", "address": "y"}),
		provider("b", nil),
		provider("c", map[string]any{"address": 7}),
		provider("d", map[string]any{"address": "x", "wait": "soon"}),
		{Name: "e", Type: "tset"},
		provider("f", map[string]any{"address": "x"}),
	})
	for _, want := range []string{
		`kms.provider "a": type "test" has no option "addres": did you mean "address"?`,
		`kms.provider "b": address is missing`, `kms.provider "c"`, `"soon" is no duration`,
		`kms.provider "e": there is no type "tset"`, `did you mean "test"?`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
	if strings.Contains(err.Error(), `"f"`) {
		t.Errorf("nothing is wrong with f: %v", err)
	}
}

// One that cannot be opened leaves none open.
func TestFailureClosesTheOthers(t *testing.T) {
	opened = nil
	_, err := Providers(t.Context(), []config.Provider{
		provider("a", map[string]any{"address": "x"}),
		provider("b", map[string]any{"address": "x", "fail": true}),
	})
	if err == nil || !strings.Contains(err.Error(), `opening KMS "b" (test): no such socket`) {
		t.Errorf("error %v", err)
	}
	if len(opened) != 1 || !opened[0].closed {
		t.Errorf("a was left open")
	}
}
