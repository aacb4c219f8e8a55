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
	users, err := s.node.Users(r.FS)
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
	create := users.CreateUser
	if r.NoGrants {
		create = users.CreateUserWithoutGrants
	}
	issued, err := create(ctx, r.User, key, tlsKey)
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
	if f, err := s.node.FS(r.FS); err == nil {
		dir := filepath.Join(f.SystemDir(), "users", r.User)
		out.line(fmt.Sprintf("Creating user '%s'", dir))
		out.line(fmt.Sprintf("Saving user public key '%s'", filepath.Join(dir, "pub.pgp")))
	} else {
		out.line(fmt.Sprintf("Creating administrator '%s'", r.User))
	}
	return CreateUserResult{
		Hashes: hashes, Bundle: string(issued.Bundle), ServerCA: string(serverCA), NotAfter: issued.Certificate.NotAfter.UTC(),
	}, nil
}

func hashesOf(key *userkey.Public) (h Hashes) {
	h.SHA256, h.SHA1, h.MD5 = key.Hashes()
	return h
}

func listUsers(ctx context.Context, s *Server, _ *stream, r FSRequest) (any, error) {
	users, err := s.node.Users(r.FS)
	if err != nil {
		return nil, err
	}
	return users.ListUsers(ctx)
}

func deleteUser(ctx context.Context, s *Server, _ *stream, r UserRequest) (any, error) {
	return none{}, s.node.DeleteUser(ctx, r.FS, r.User)
}

func revoke(ctx context.Context, s *Server, _ *stream, r UserRequest) (any, error) {
	users, err := s.node.Users(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, users.Revoke(ctx, r.User)
}

func addKey(ctx context.Context, s *Server, out *stream, r KeyRequest) (any, error) {
	users, err := s.node.Users(r.FS)
	if err != nil {
		return nil, err
	}
	key, err := userkey.ParsePublic([]byte(r.Key))
	if err != nil {
		return nil, err
	}
	if err := users.AddKey(ctx, r.User, key); err != nil {
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
	users, err := s.node.Users(r.FS)
	if err != nil {
		return nil, err
	}
	return none{}, users.RemoveKey(ctx, r.User, r.Fingerprint)
}
