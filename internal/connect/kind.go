package connect

import (
	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/userkey"
)

// KeyKind names the kind of key that a signer holds, as people call it: PGP,
// SSH, or Ed25519.
func KeyKind(s client.Signer) string {
	if p, ok := s.(interface{ Public() *userkey.Public }); ok {
		switch p.Public().Kind() {
		case userkey.OpenPGP:
			return "PGP"
		case userkey.SSH:
			return "SSH"
		}
	}
	return "Ed25519"
}
