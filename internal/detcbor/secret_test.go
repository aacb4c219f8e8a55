package detcbor

import (
	"bytes"
	"testing"
)

func TestSecretsAreEncodedLikeTheRest(t *testing.T) {
	v := map[string][]byte{"key": bytes.Repeat([]byte{7}, 32), "large": bytes.Repeat([]byte{8}, 2*secretRoom)}
	want, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := MarshalSecret(v); err != nil || !bytes.Equal(got, want) {
		t.Errorf("MarshalSecret: %d bytes, %v; Marshal %d", len(got), err, len(want))
	}
	if b, err := MarshalSecret(make(chan int)); err == nil || b != nil {
		t.Errorf("a channel was encoded: %x, %v", b, err)
	}
}
