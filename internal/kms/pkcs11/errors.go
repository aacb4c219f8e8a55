//go:build pkcs11

package pkcs11

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/miekg/pkcs11"
)

// is reports whether err is one of the answers of a library.
func is(err error, codes ...uint) bool {
	var e pkcs11.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if uint(e) == c {
			return true
		}
	}
	return false
}

// lost reports whether the session is not to be used any more: the token was
// taken out, the connection to it was cut, the login is gone.
func lost(err error) bool {
	return is(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_TOKEN_NOT_PRESENT,
		pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_GENERAL_ERROR,
		pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID,
		pkcs11.CKR_OPERATION_ACTIVE)
}

// translate makes an answer of a library one of efs.KMS.
func (t *token) translate(err error) error {
	kind := error(nil)
	switch {
	case err == nil:
		return nil
	case lost(err), is(err, pkcs11.CKR_SESSION_COUNT):
		kind = efs.ErrUnavailable
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED,
		pkcs11.CKR_USER_PIN_NOT_INITIALIZED, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_TOKEN_WRITE_PROTECTED,
		pkcs11.CKR_SESSION_READ_ONLY, pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN):
		kind = efs.ErrRefused
	case is(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_FUNCTION_NOT_SUPPORTED):
		kind = efs.ErrUnsupported
	default:
		return err
	}
	return fmt.Errorf("%w: token of KMS %s: %w", kind, t.name, err)
}
