//go:build !linux

package starter

import (
	"fmt"
	"os"
)

// ReexecWithoutEnv takes EFS_STARTER_KEY out of the process's environment and
// keeps it for Find. Servers run on Linux, where it does more.
func ReexecWithoutEnv() error {
	value := os.Getenv(EnvName)
	if value == "" {
		return nil
	}
	key, err := Parse([]byte(value))
	if err != nil {
		return fmt.Errorf("starter key from %s: %w", envSource, err)
	}
	keepInherited(key)
	return os.Unsetenv(EnvName)
}
