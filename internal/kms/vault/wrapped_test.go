package vault

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

// What Transit writes comes back as the same text from the wrapped form.
func TestPack(t *testing.T) {
	body := base64.StdEncoding.EncodeToString(make([]byte, wrapLength-wrapHeader))
	text := "vault:v258:" + body
	wrapped, err := pack(text)
	if err != nil || len(wrapped) != wrapLength || wrapped[0] != 1 || wrapped[3] != 1 || wrapped[4] != 2 {
		t.Fatalf("%x, %v", wrapped, err)
	}
	if got, ok := unpack(wrapped); !ok || got != text {
		t.Errorf("%q, %v", got, ok)
	}
	for _, bad := range []string{
		"", "v1:" + body, "vault:v0:" + body, "vault:v-1:" + body, "vault:v1" + body, "vault:v1:" + body[4:], "vault:v4294967296:" + body,
		"vault:v1:" + body + "AAAA", "vault:v1:!" + body[1:],
	} {
		if _, err := pack(bad); !errors.Is(err, efs.ErrUnavailable) {
			t.Errorf("pack(%.20q): %v", bad, err)
		}
	}
}

// Several spellings of one wrap are not taken.
func TestUnpackIsStrict(t *testing.T) {
	good := append([]byte{1, 0, 0, 0, 1}, make([]byte, wrapLength-wrapHeader)...)
	if text, ok := unpack(good); !ok || !strings.HasPrefix(text, "vault:v1:") {
		t.Errorf("%q, %v", text, ok)
	}
	for what, change := range map[string]func(b []byte) []byte{
		"version 0":      func(b []byte) []byte { b[4] = 0; return b },
		"another format": func(b []byte) []byte { b[0] = 2; return b },
		"one byte less":  func(b []byte) []byte { return b[:len(b)-1] },
		"one byte more":  func(b []byte) []byte { return append(b, 0) },
	} {
		if text, ok := unpack(change(append([]byte{}, good...))); ok {
			t.Errorf("%s: %q", what, text)
		}
	}
}
