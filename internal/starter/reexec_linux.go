package starter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/sys/unix"
)

// ReexecWithoutEnv takes EFS_STARTER_KEY out of the process's environment: it
// checks the value, puts it into a pipe, and executes this program again with
// the same arguments and an environment without it, so that
// /proc/PID/environ shows no key. In the new self it takes the key from the
// pipe and keeps it for Find. Without the variable it does nothing. A process
// stays the one it was (PID 1 stays PID 1). Called first in a server's main,
// by commands that need the key alone: in a container, `healthcheck` has the
// same environment.
func ReexecWithoutEnv() error {
	if value := os.Getenv(EnvName); value != "" {
		return reexec(value)
	}
	fd := os.Getenv(inheritedName)
	if fd == "" {
		return nil
	}
	key, err := adopt(fd)
	if err != nil {
		return fmt.Errorf("starter key from %s: %w", envSource, err)
	}
	keepInherited(key)
	return os.Unsetenv(inheritedName)
}

// reexec returns only with an error.
func reexec(value string) error {
	key, err := Parse([]byte(value))
	if err != nil {
		return fmt.Errorf("starter key from %s: %w", envSource, err)
	}
	key.Destroy() // it was only to be checked
	fd, err := pipeWith([]byte(value))
	if err != nil {
		return fmt.Errorf("handing the starter key on: %w", err)
	}
	env := []string{inheritedName + "=" + strconv.Itoa(fd)}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, EnvName+"=") && !strings.HasPrefix(kv, inheritedName+"=") {
			env = append(env, kv)
		}
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, env)
	}
	if errors.Is(err, os.ErrNotExist) { // replaced on disk meanwhile
		err = syscall.Exec("/proc/self/exe", os.Args, env)
	}
	return fmt.Errorf("starting again without %s in the environment: %w; use --starter-key-file instead", EnvName, err)
}

// pipeWith returns the reading end of a pipe that holds b and ends there. It
// survives an exec. Pipes are kernel memory that is never swapped.
func pipeWith(b []byte) (fd int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], 0); err != nil {
		return 0, err
	}
	_, err = unix.Write(p[1], b) // far below PIPE_BUF: whole or not at all
	if cerr := unix.Close(p[1]); err == nil {
		err = cerr
	}
	return p[0], err
}

func adopt(number string) (*secret.Key, error) {
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is set by EFS itself: unset it", inheritedName)
	}
	f := os.NewFile(uintptr(fd), "starter key")
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyText))
	defer secret.Wipe(b)
	if err != nil {
		return nil, fmt.Errorf("%s is set by EFS itself: unset it (%w)", inheritedName, err)
	}
	return Parse(b)
}
