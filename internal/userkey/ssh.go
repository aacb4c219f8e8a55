package userkey

import (
	"bytes"
	"crypto/ed25519"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

const (
	beginSSHSignature = "-----BEGIN SSH SIGNATURE-----"
	endSSHSignature   = "-----END SSH SIGNATURE-----"
)

// verifySSH checks an SSH signature (OpenSSH PROTOCOL.sshsig). It carries the
// key that made it, which decides the one key that is tried.
func verifySSH(keys []*Public, message []byte, s string) error {
	if strings.Count(s, "-----BEGIN ") != 1 || !strings.HasSuffix(s, endSSHSignature) {
		return bad("signature: not one armored block; send exactly what ssh-keygen -Y sign prints")
	}
	sig, err := sshsig.Unarmor([]byte(s))
	if err != nil {
		return bad("signature: damaged SSH signature")
	}
	switch {
	case sig.PublicKey.Type() != ssh.KeyAlgoED25519 || sig.Signature.Format != ssh.KeyAlgoED25519:
		return bad("signature: SSH signature by a %s key; EFS takes ssh-ed25519", sig.PublicKey.Type())
	case sig.Namespace != Namespace:
		return bad("signature: SSH signature with namespace %q; use ssh-keygen -Y sign -n %s", sig.Namespace, Namespace)
	}
	plain, known := nobody(), false
	for _, k := range keys {
		if key, err := ssh.NewPublicKey(k.plain); k.plain != nil && err == nil && bytes.Equal(key.Marshal(), sig.PublicKey.Marshal()) {
			plain, known = k.plain, true
		}
	}
	found := false
	for _, text := range variants(message) {
		if verifySSHPacket(plain, sig, text) {
			found = true
		}
	}
	if !found || !known {
		return ErrSignature
	}
	return nil
}

// verifySSHPacket verifies as if sig named key, so that the same work is done
// for a stand-in as for the key that made it.
func verifySSHPacket(key ed25519.PublicKey, sig *sshsig.Signature, text []byte) bool {
	verifications.Add(1)
	pub, err := ssh.NewPublicKey(key)
	if err != nil {
		return false
	}
	s := *sig
	s.PublicKey = pub
	return sshsig.Verify(bytes.NewReader(text), &s, pub, sig.HashAlgorithm, Namespace) == nil
}
