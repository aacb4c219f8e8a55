package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SocketName is the socket's path below the root.
const SocketName = ".server/admin.sock"

// secretSocketName is that of the socket for keys and passphrases.
const secretSocketName = ".server/secret.sock"

// maxSocketPath is what fits into sockaddr_un with its closing NUL.
const maxSocketPath = 107

// SocketPath returns where the socket of the server on root is.
func SocketPath(root string) string { return filepath.Join(root, SocketName) }

// withShortPath calls fn with a path of at most 107 bytes that leads to the
// socket: a longer one goes through /proc/self/fd of its directory, which the
// kernel resolves in the same way.
func withShortPath(path string, fn func(string) error) error {
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(dir)
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// listen makes the socket at path, 0600, in place of one that a killed server
// left. The caller holds the lock on the root, so no other server listens there.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an old admin socket: %w", err)
	}
	var l *net.UnixListener
	err := withShortPath(path, func(short string) error {
		var err error
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making the admin socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // by a short path it may be gone from; Close of Server removes it
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("restricting the admin socket %s: %w", path, err)
	}
	return &peerListener{l}, nil
}

// peerListener lets in only the user of this process and root. The directory
// and the socket's mode already say so; this holds even where somebody widened
// them.
type peerListener struct{ *net.UnixListener }

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return c, nil
		}
		c.Close()
	}
}

func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, sockErr); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var c net.Conn
	err := withShortPath(path, func(short string) error {
		var err error
		c, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
		return err
	})
	return c, err
}
