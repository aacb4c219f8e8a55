package userkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// nobody returns a public key that stands in where no key fits a signature.
// Its private half was dropped when it was made.
var nobody = sync.OnceValue(func() ed25519.PublicKey {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return pub
})

// nobodyOpenPGP is nobody as OpenPGP keys, by signature algorithm: the legacy
// EdDSA form that gpg makes, and the Ed25519 form of RFC 9580.
var nobodyOpenPGP = map[packet.PublicKeyAlgorithm]func() *Public{
	packet.PubKeyAlgoEdDSA:   sync.OnceValue(func() *Public { return newNobody(packet.PubKeyAlgoEdDSA) }),
	packet.PubKeyAlgoEd25519: sync.OnceValue(func() *Public { return newNobody(packet.PubKeyAlgoEd25519) }),
}

func newNobody(algo packet.PublicKeyAlgorithm) *Public {
	e, err := openpgp.NewEntity("nobody", "", "", &packet.Config{Algorithm: algo, Curve: packet.Curve25519})
	if err != nil {
		panic(err) // only crypto/rand or an unknown algorithm could be the cause
	}
	e.PrivateKey, e.Subkeys = nil, nil
	return &Public{kind: OpenPGP, entity: e}
}
