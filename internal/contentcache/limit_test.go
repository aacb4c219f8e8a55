package contentcache

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that may not lock so much memory is told what to change. The
// limit is for the life of a process, so a child sets it and tells what Open
// then says.
func TestWithoutLockableMemory(t *testing.T) {
	const variable = "EFS_TEST_CACHE_CHILD"
	if where := os.Getenv(variable); where != "" {
		fmt.Println("child:", openWithoutLocking(where))
		return
	}
	everywhere(t, func(t *testing.T, where string) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutLockableMemory$")
		cmd.Env = append(os.Environ(), variable+"="+where)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("child: %v\n%s", err, out)
		}
		for _, want := range []string{"child: cache of decrypted files: locking 1 MiB of memory", "LimitMEMLOCK=", "make [cache] size smaller"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s\ndoes not say %s", out, want)
			}
		}
		if where != Memory {
			if left, err := os.ReadDir(where); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		}
	})
}

func openWithoutLocking(where string) error {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	c, err := Open(Options{Size: 1 << 20, MaxFile: 4 << 10, TTL: time.Minute, Where: where})
	if err == nil {
		return c.Close()
	}
	return err
}
