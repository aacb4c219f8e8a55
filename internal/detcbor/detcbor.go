// Package detcbor is the one way in which sealed records are encoded:
// deterministic CBOR (RFC 8949 §4.2), so that equal values have equal bytes.
package detcbor

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"
)

var (
	encoder = must(encOptions().EncMode())
	secrets = must(encOptions().UserBufferEncMode())
	strict  = must(decOptions(cbor.ExtraDecErrorUnknownField).DecMode())
	lenient = must(decOptions(cbor.ExtraDecErrorNone).DecMode())
)

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339Nano
	return o
}

func decOptions(unknown cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		ExtraReturnErrors: unknown,
	}
}

// must is for options of the library, which are fixed here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal encodes v. Times are RFC 3339 with nanoseconds.
func Marshal(v any) ([]byte, error) { return encoder.Marshal(v) }

// secretRoom is what MarshalSecret encodes without moving, bytes: some
// thousand keys.
const secretRoom = 256 << 10

// MarshalSecret is Marshal for values that hold keys: the result, which the
// caller wipes, is the only copy that is left. Marshal keeps a buffer for the
// next call.
func MarshalSecret(v any) ([]byte, error) {
	room := make([]byte, 0, secretRoom)
	buf := bytes.NewBuffer(room)
	err := secrets.MarshalToBuffer(v, buf)
	out := bytes.Clone(buf.Bytes())
	clear(buf.Bytes())
	clear(room[:cap(room)])
	if err != nil {
		clear(out)
		return nil, err
	}
	return out, nil
}

// Unmarshal decodes b into v and refuses what Marshal does not write:
// repeated keys, indefinite lengths, and keys that v does not have.
func Unmarshal(b []byte, v any) error { return strict.Unmarshal(b, v) }

// UnmarshalKnown is Unmarshal for records that a later version may have added
// keys to: those that v does not have are skipped.
func UnmarshalKnown(b []byte, v any) error { return lenient.Unmarshal(b, v) }
