package admin

import (
	"context"
	"crypto"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/userkey"
)

// createUser tells what it does in the order in which people read it: whose
// key it is, what to connect with, where it is kept.
func createUser(ctx context.Context, s *Server, out *stream, r CreateUserRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	key, err := userkey.ParsePublic([]byte(r.Key))
	if err != nil {
		return nil, err
	}
	var tlsKey crypto.PublicKey
	if r.CSR != "" {
		if tlsKey, err = pki.ParseCSR([]byte(r.CSR)); err != nil {
			return nil, err
		}
	}
	serverCA, err := s.node.ServerCA()
	if err != nil {
		return nil, err
	}
	issued, err := f.Users.CreateUser(ctx, r.User, key, tlsKey)
	if err != nil {
		return nil, err
	}
	hashes := hashesOf(key)
	out.line("Pub key hash:")
	out.line("sha256: " + hashes.SHA256)
	out.line("sha1: " + hashes.SHA1)
	out.line("md5: " + hashes.MD5)
	out.line("Use this key for TLS Client Certificate Authentication:")
	out.line(strings.TrimSuffix(string(issued.Bundle), "\n"))
	dir := filepath.Join(f.SystemDir(), "users", r.User)
	out.line(fmt.Sprintf("Creating user '%s'", dir))
	out.line(fmt.Sprintf("Saving user public key '%s'", filepath.Join(dir, "pub.pgp")))
	return CreateUserResult{
		Hashes: hashes, Bundle: string(issued.Bundle), ServerCA: string(serverCA), NotAfter: issued.Certificate.NotAfter.UTC(),
	}, nil
}

func hashesOf(key *userkey.Public) (h Hashes) {
	h.SHA256, h.SHA1, h.MD5 = key.Hashes()
	return h
}

func listUsers(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.Users.ListUsers(ctx)
}

func deleteUser(ctx context.Context, s *Server, _ *stream, r UserRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, f.Users.DeleteUser(ctx, r.User)
}

func revoke(ctx context.Context, s *Server, _ *stream, r UserRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, f.Users.Revoke(ctx, r.User)
}

func addKey(ctx context.Context, s *Server, out *stream, r KeyRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	key, err := userkey.ParsePublic([]byte(r.Key))
	if err != nil {
		return nil, err
	}
	if err := f.Users.AddKey(ctx, r.User, key); err != nil {
		return nil, err
	}
	hashes := hashesOf(key)
	out.line("Pub key hash:")
	out.line("sha256: " + hashes.SHA256)
	out.line("sha1: " + hashes.SHA1)
	out.line("md5: " + hashes.MD5)
	return hashes, nil
}

func removeKey(ctx context.Context, s *Server, _ *stream, r KeyRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, f.Users.RemoveKey(ctx, r.User, r.Fingerprint)
}
