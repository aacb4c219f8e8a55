//go:build !pkcs11

package open

import (
	"strings"
	"testing"

	"github.com/efs-project/efs/internal/config"
)

// A program without cgo says what it lacks.
func TestWithoutPKCS11(t *testing.T) {
	err := Check([]config.Provider{{Name: "hsm", Type: "pkcs11"}})
	if err == nil || !strings.Contains(err.Error(), "built without") || !strings.Contains(err.Error(), "-tags pkcs11") {
		t.Errorf("%v", err)
	}
}
