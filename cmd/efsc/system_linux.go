package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// onTmpfs reports whether dir is a directory on a file system that lives in
// memory.
func onTmpfs(dir string) bool {
	var st unix.Statfs_t
	fi, err := os.Stat(dir)
	if err != nil || !fi.IsDir() || unix.Statfs(dir, &st) != nil {
		return false
	}
	const ramfs = 0x858458f6 // linux/magic.h
	return (st.Type == unix.TMPFS_MAGIC || uint32(st.Type) == ramfs) && unix.Access(dir, unix.W_OK) == nil
}

// inContainer reports whether this process runs in a container: Docker and
// Podman each leave a file, others set a variable for what they start.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return os.Getenv("container") != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// stopContainer ends the container's main process where that is another efsc,
// so that stop does the same from `docker exec`.
func stopContainer() error {
	if os.Getpid() == 1 {
		return nil
	}
	name, err := os.ReadFile("/proc/1/comm")
	if err != nil || strings.TrimSpace(string(name)) != "efsc" {
		return nil // not ours to stop
	}
	if err := syscall.Kill(1, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the container: %w", err)
	}
	return nil
}
