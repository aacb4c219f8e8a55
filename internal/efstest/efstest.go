// Package efstest runs a real server for tests of clients: a node on a fresh
// root, serving HTTPS on a free loopback port in this process, with users that
// have real certificates.
package efstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/server"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/internal/userkey"
)

// FS is the file system that Start makes.
const FS = "user-data"

// Server is a server under test.
type Server struct {
	URL    string // https://127.0.0.1:PORT; the same after Restart
	Dir    string // where CAFile and users' files lie
	CAFile string // what signed the server's certificate
	Node   *node.Node

	key    string
	stop   context.CancelFunc
	served sync.WaitGroup
	err    error
}

// Start runs a server with its root and files below dir.
func Start(dir string) (*Server, error) {
	text, _, err := starter.Generate()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, key: string(text), CAFile: filepath.Join(dir, "ca.crt")}
	if err := s.up("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if err := s.Node.CreateFS(context.Background(), FS, func(string) {}); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	ca, err := s.Node.ServerCA()
	if err == nil {
		err = os.WriteFile(s.CAFile, ca, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// up opens the root and serves it.
func (s *Server) up(addr string) error {
	key, err := starter.Parse([]byte(s.key))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	quiet := slog.New(slog.DiscardHandler)
	s.Node, err = node.New(ctx, node.Config{
		Root: filepath.Join(s.Dir, "root"), Key: &starter.Found{Key: key, From: "test"}, Logger: quiet,
	})
	if err != nil {
		cancel()
		return fmt.Errorf("opening the root: %w", err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		cancel()
		return errors.Join(err, s.Node.Close())
	}
	s.URL = "https://" + l.Addr().String()
	srv := server.New(s.Node, server.Config{Logger: quiet, Certificate: s.Node.Certificate})
	s.served.Go(func() { s.err = srv.Serve(ctx, server.Listener{Listener: l}) })
	return nil
}

// Stop ends the server in good order.
func (s *Server) Stop() error {
	s.stop()
	s.served.Wait()
	return errors.Join(s.err, s.Node.Close())
}

// Restart stops the server and starts it on the same root and address: a new
// instance, to which no session is known.
func (s *Server) Restart() error {
	addr := s.URL[len("https://"):]
	if err := s.Stop(); err != nil {
		return err
	}
	return s.up(addr)
}

// AddFS makes another file system.
func (s *Server) AddFS(name string) error {
	return s.Node.CreateFS(context.Background(), name, func(string) {})
}

// AddUser makes a user of a file system with a public key, and returns the
// file with the client certificate.
func (s *Server) AddUser(fsName, name string, key *userkey.Public) (certFile string, err error) {
	fs, err := s.Node.FS(fsName)
	if err != nil {
		return "", err
	}
	issued, err := fs.Users.CreateUser(context.Background(), name, key, nil)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, fsName+"-"+name+".crt")
	return file, os.WriteFile(file, issued.Bundle, 0o600)
}

// AddPGPUser makes a user of a file system with a new OpenPGP key, and returns
// the files with the private key and the client certificate.
func (s *Server) AddPGPUser(fsName, name string) (keyFile, certFile string, err error) {
	private, pub, err := userkey.Generate(name)
	if err != nil {
		return "", "", err
	}
	keyFile = filepath.Join(s.Dir, fsName+"-"+name+".pgp")
	if err := os.WriteFile(keyFile, private, 0o600); err != nil {
		return "", "", err
	}
	certFile, err = s.AddUser(fsName, name, pub)
	return keyFile, certFile, err
}
