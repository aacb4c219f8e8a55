//go:build pkcs11

package open

import (
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/config"
)

// The options of a token are judged without asking it.
func TestTokenOptions(t *testing.T) {
	p := config.Provider{Name: "hsm", Type: "pkcs11", Options: map[string]any{"module": "/lib/x.so", "token": "efs", "pin_file": "/run/pin"}}
	if err := Check([]config.Provider{p}); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]struct {
		option, want string
		value        any
	}{
		"no library":     {"module", "module is missing", ""},
		"a wrong option": {"pin", `has no option "pin"`, "1234"},
		"two PINs":       {"pin_env", "give one of them", "PIN"},
	} {
		options := map[string]any{change.option: change.value}
		for k, v := range p.Options {
			if _, ok := options[k]; !ok {
				options[k] = v
			}
		}
		err := Check([]config.Provider{{Name: "hsm", Type: "pkcs11", Options: options}})
		if err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %q", what, err, change.want)
		}
	}
}
