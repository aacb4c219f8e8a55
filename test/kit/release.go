package kit

import (
	"path/filepath"
	"testing"
)

// NewOf is New with the binaries of another release, which lie in dir.
func NewOf(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	return newServer(t, filepath.Join(t.TempDir(), "efs"), dir, args)
}

// Use has the server, and efsctl, be the binaries in dir from its next start
// on; "" is those of the sources.
func (s *Server) Use(dir string) { s.bin = dir }

// Existing starts a server on a root that is there already, with its starter
// key, and makes the user name in FS, as whom Client then logs in.
func Existing(t testing.TB, root, keyFile, name string) *Server {
	t.Helper()
	s := &Server{Root: root, KeyFile: keyFile, Out: filepath.Join(t.TempDir(), name), t: t}
	s.Start()
	t.Cleanup(func() {
		if s.Running() {
			s.Stop()
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
	})
	s.Ctl("create-user", name, "--fs", FS, "--generate", "--out", s.Out)
	return s
}
