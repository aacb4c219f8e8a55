// Package detcbor is the one way in which sealed records are encoded:
// deterministic CBOR (RFC 8949 §4.2), so that equal values have equal bytes.
package detcbor

import "github.com/fxamacker/cbor/v2"

var (
	encoder = must(encOptions().EncMode())
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

// Unmarshal decodes b into v and refuses what Marshal does not write:
// repeated keys, indefinite lengths, and keys that v does not have.
func Unmarshal(b []byte, v any) error { return strict.Unmarshal(b, v) }

// UnmarshalKnown is Unmarshal for records that a later version may have added
// keys to: those that v does not have are skipped.
func UnmarshalKnown(b []byte, v any) error { return lenient.Unmarshal(b, v) }
