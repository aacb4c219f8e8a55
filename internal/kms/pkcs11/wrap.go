//go:build pkcs11

package pkcs11

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/kms/masterkey"
	"github.com/efs-project/efs/internal/secret"
	"github.com/miekg/pkcs11"
)

// The wrapped form: format (1 byte), version of the master key (uint32, big
// endian), length of the initialisation vector (1 byte), the vector, then what
// AES-256-GCM gives: 32 bytes and a tag of 16.
const (
	wrapFormat = 1
	wrapHeader = 1 + 4 + 1
	wrapLabel  = "efs kms-pkcs11 wrap\x00"
	ivSize     = 12
	maxIV      = 64
	tagSize    = 16
)

// boundTo is the associated data of a wrap: wrapLabel, then deterministic CBOR
// of [master key id, version, binding].
func boundTo(id string, number int, b efs.Binding) ([]byte, error) {
	body, err := detcbor.Marshal([]any{id, number, b})
	return append([]byte(wrapLabel), body...), err
}

// Wrap has the token seal a key of 32 bytes under the newest version.
func (k *KMS) Wrap(ctx context.Context, id string, plain []byte, b efs.Binding) ([]byte, error) {
	if err := masterkey.CheckKey(plain); err != nil {
		return nil, err
	}
	// The call may outlast this one, and the caller wipes what is its own.
	plain = append([]byte(nil), plain...)
	return ask(ctx, k.token, nil, func(s *session) ([]byte, error) {
		defer secret.Wipe(plain)
		key, err := k.usable(s, id)
		if err != nil {
			return nil, err
		}
		v := key.versions[len(key.versions)-1]
		ad, err := boundTo(id, v.number, b)
		if err != nil {
			return nil, err
		}
		iv, sealed, err := s.seal(v.handle, plain, ad, k.c.TokenIV)
		if err != nil {
			return nil, err
		}
		out := binary.BigEndian.AppendUint32([]byte{wrapFormat}, uint32(v.number))
		out = append(append(out, byte(len(iv))), iv...)
		return append(out, sealed...), nil
	})
}

// Unwrap has the token open what Wrap made with the same id and binding.
func (k *KMS) Unwrap(ctx context.Context, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	return ask(ctx, k.token, secret.Wipe, func(s *session) ([]byte, error) {
		key, err := k.usable(s, id)
		if err != nil {
			return nil, err
		}
		number, iv, sealed, ok := parseWrap(wrapped)
		v, there := key.version(number)
		if !ok || !there {
			return nil, masterkey.NotOf(id)
		}
		ad, err := boundTo(id, number, b)
		if err != nil {
			return nil, err
		}
		plain, err := s.open(v.handle, iv, sealed, ad)
		if err == nil {
			return plain, nil
		}
		if s.rejects(v.handle, err) {
			return nil, masterkey.NotOf(id)
		}
		return nil, err
	})
}

func parseWrap(w []byte) (number int, iv, sealed []byte, ok bool) {
	if len(w) < wrapHeader || w[0] != wrapFormat {
		return 0, nil, nil, false
	}
	n := int(w[wrapHeader-1])
	if n < ivSize || n > maxIV || len(w) != wrapHeader+n+secret.Size+tagSize {
		return 0, nil, nil, false
	}
	return int(binary.BigEndian.Uint32(w[1:5])), w[wrapHeader : wrapHeader+n], w[wrapHeader+n:], true
}

// seal encrypts with AES-GCM and returns the vector that the token used.
func (s *session) seal(key pkcs11.ObjectHandle, plain, ad []byte, tokenIV bool) (iv, sealed []byte, err error) {
	iv = make([]byte, ivSize)
	if !tokenIV {
		_, _ = rand.Read(iv) // never fails (crypto/rand)
	}
	p := pkcs11.NewGCMParams(iv, ad, tagSize*8)
	defer p.Free()
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}
	if err := s.ctx.EncryptInit(s.handle, mechanism, key); err != nil {
		return nil, nil, fmt.Errorf("wrapping on the token: %w", err)
	}
	sealed, err = s.ctx.Encrypt(s.handle, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping on the token: %w", err)
	}
	used := p.IV()
	if len(used) < ivSize || len(used) > maxIV || tokenIV && isZero(used) {
		return nil, nil, fmt.Errorf("wrapping on the token: it does not tell which initialisation vector it used")
	}
	if len(sealed) != len(plain)+tagSize {
		return nil, nil, fmt.Errorf("wrapping on the token: %d bytes came back for %d", len(sealed), len(plain))
	}
	return used, sealed, nil
}

func (s *session) open(key pkcs11.ObjectHandle, iv, sealed, ad []byte) ([]byte, error) {
	p := pkcs11.NewGCMParams(iv, ad, tagSize*8)
	defer p.Free()
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}
	if err := s.ctx.DecryptInit(s.handle, mechanism, key); err != nil {
		return nil, fmt.Errorf("unwrapping on the token: %w", err)
	}
	plain, err := s.ctx.Decrypt(s.handle, sealed)
	if err != nil {
		secret.Wipe(plain)
		return nil, fmt.Errorf("unwrapping on the token: %w", err)
	}
	return plain, nil
}

// rejects reports whether a token that answered an unwrapping with err said
// that the bytes are not of this key. Not all tokens have a code of their own
// for that: one that fails in general, and at once works with the same key,
// said it too.
func (s *session) rejects(key pkcs11.ObjectHandle, err error) bool {
	if is(err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID,
		pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_SIGNATURE_INVALID) {
		return true
	}
	if !is(err, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_MECHANISM_PARAM_INVALID) {
		return false
	}
	iv, sealed, err := s.seal(key, make([]byte, 16), nil, false)
	if err != nil {
		return false
	}
	_, err = s.open(key, iv, sealed, nil)
	return err == nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
