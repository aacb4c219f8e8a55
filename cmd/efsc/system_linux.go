package main

import (
	"fmt"
	"os"
	"slices"
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

// ownedByUs reports whether a file is this user's.
func ownedByUs(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
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

// inits are programs that start a container's main process and stand for it.
var inits = []string{"tini", "docker-init", "podman-init", "catatonit", "dumb-init"}

// whereWeRun tells what a stop would end.
func whereWeRun() place {
	main := commandOf("1")
	beneathInit := slices.Contains(inits, main)
	switch {
	case !inContainer():
		return outside
	case os.Getpid() == 1 || os.Getppid() == 1 && beneathInit:
		return mainProcess
	case main == "efsc" || beneathInit && slices.Contains(childrenOfMain(), "efsc"):
		return entered
	}
	return stranger
}

// commandOf returns the name of a process's program; "" where there is none.
func commandOf(pid string) string {
	name, _ := os.ReadFile("/proc/" + pid + "/comm") // what cannot be read is not ours
	return strings.TrimSpace(string(name))
}

func childrenOfMain() (names []string) {
	pids, _ := os.ReadFile("/proc/1/task/1/children") // as above
	for _, pid := range strings.Fields(string(pids)) {
		names = append(names, commandOf(pid))
	}
	return names
}

// stopContainer ends the container's main process, so that stop does the same
// from `docker exec`.
func stopContainer() error {
	if err := syscall.Kill(1, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the container: %w", err)
	}
	return nil
}
