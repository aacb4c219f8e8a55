package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/spf13/cobra"
)

// The files that a new user is given.
const (
	bundleFile  = "clientCert.crt" // certificate, key, chain: curl --cert
	caFile      = "ca.crt"         // to trust the server
	privateFile = "priv.pgp"       // with --generate
)

// userFiles is where a new user's files go.
type userFiles struct {
	dir  string    // "": nowhere
	made bool      // dir was not there before
	tar  io.Writer // instead of dir
}

// newUserFiles prepares the place before a user is made, and refuses to write over
// files of another.
func newUserFiles(cmd *cobra.Command, out string, generate bool) (*userFiles, error) {
	switch out {
	case "":
		return &userFiles{}, nil
	case "-":
		if isTerminal(cmd.OutOrStdout()) {
			return nil, usageError{errors.New("--out - writes a tar, which is not for a terminal: pipe it into tar, or give a directory")}
		}
		return &userFiles{tar: cmd.OutOrStdout()}, nil
	}
	_, err := os.Lstat(out)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(out, 0o700); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	names := []string{bundleFile, caFile}
	if generate {
		names = append(names, privateFile)
	}
	for _, name := range names {
		path := filepath.Join(out, name)
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s exists: it may be another user's; give another directory, or move it away", path)
		}
	}
	return &userFiles{dir: out, made: made}, nil
}

// drop takes back what was prepared for a user who was not made.
func (k *userFiles) drop() {
	if k.made {
		_ = os.Remove(k.dir) // which is empty; if it is not, it is somebody's
	}
}

type userFile struct {
	name string
	data []byte
	mode int64
}

// write hands the files over. private is nil where the user has the key.
func (k *userFiles) write(r admin.CreateUserResult, private []byte) error {
	files := []userFile{{bundleFile, []byte(r.Bundle), 0o600}, {caFile, []byte(r.ServerCA), 0o644}}
	if private != nil {
		files = append(files, userFile{privateFile, private, 0o600})
	}
	switch {
	case k.tar != nil:
		return writeTar(k.tar, files)
	case k.dir != "":
		for _, f := range files {
			if err := atomicfile.WriteNew(filepath.Join(k.dir, f.name), f.data, os.FileMode(f.mode)); err != nil {
				return fmt.Errorf("writing %s: %w", filepath.Join(k.dir, f.name), err)
			}
		}
	}
	return nil
}

func writeTar(w io.Writer, files []userFile) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Now().Truncate(time.Second)}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("writing the tar: %w", err)
		}
		if _, err := t.Write(f.data); err != nil {
			return fmt.Errorf("writing the tar: %w", err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("writing the tar: %w", err)
	}
	return nil
}
