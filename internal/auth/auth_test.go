package auth

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/efs-project/efs"
)

var example = Message{
	Instance:   "9b2f0c7e-52a1-4a7e-9d0e-0f4b8c1a2d3e",
	FS:         "user-data",
	User:       "app1",
	CertSHA256: "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed",
	Nonce:      "q83vEjRWeJCrze8SNFZ4kA",
	Expires:    time.Date(2026, 5, 4, 12, 1, 0, 0, time.UTC),
}

// The exact text that docs/handshake.md shows and other people's scripts sign.
const exampleText = `efs-auth-v1
instance: 9b2f0c7e-52a1-4a7e-9d0e-0f4b8c1a2d3e
fs: user-data
user: app1
certificate: sha256:3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed
nonce: q83vEjRWeJCrze8SNFZ4kA
expires: 2026-05-04T12:01:00Z`

func TestText(t *testing.T) {
	if got := example.Text(); got != exampleText {
		t.Errorf("%s\nwant\n%s", got, exampleText)
	}
	if got, err := ParseMessage(exampleText); err != nil || got != example {
		t.Errorf("%+v, %v", got, err)
	}
	none := example
	none.CertSHA256 = ""
	if got := none.Text(); !strings.Contains(got, "\ncertificate: none\n") {
		t.Errorf("without a certificate: %s", got)
	}
	if got, err := ParseMessage(none.Text()); err != nil || got != none {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseMessageRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(exampleText, old, new, 1) }
	for name, text := range map[string]string{
		"empty":             "",
		"newline at end":    exampleText + "\n",
		"CRLF":              strings.ReplaceAll(exampleText, "\n", "\r\n"),
		"other version":     replace("v1", "v2"),
		"line missing":      replace("user: app1\n", ""),
		"line more":         replace("user: app1\n", "user: app1\nuser: app1\n"),
		"order":             replace("fs: user-data\nuser: app1", "user: app1\nfs: user-data"),
		"instance in caps":  replace("9b2f", "9B2F"),
		"instance in URN":   replace("9b2f0c7e", "urn:uuid:9b2f0c7e"),
		"fs":                replace("user-data", "User Data"),
		"user":              replace("app1", "../app1"),
		"certificate":       replace("sha256:3f", "sha256:3F"),
		"certificate short": replace("sha256:3f", "sha256:"),
		"certificate empty": replace("sha256:3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed", "sha256:"),
		"nonce":             replace("q83v", "q8+v"),
		"nonce padded":      replace("4kA", "4kA="),
		"nonce empty":       replace("q83vEjRWeJCrze8SNFZ4kA", ""),
		"nonce long":        replace("q83v", strings.Repeat("q83v", 40)),
		"other zone":        replace("12:01:00Z", "14:01:00+02:00"),
		"fraction":          replace("12:01:00Z", "12:01:00.5Z"),
		"no time":           replace("2026-05-04T12:01:00Z", "soon"),
	} {
		if m, err := ParseMessage(text); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %+v, %v, want ErrBadInput", name, m, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			Instance:   efs.ID([]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "instance"))).String(),
			FS:         rapid.StringMatching(`[a-z0-9][a-z0-9-]{1,62}`).Draw(t, "fs"),
			User:       rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,62}`).Draw(t, "user"),
			CertSHA256: rapid.StringMatching(`([0-9a-f]{64})?`).Draw(t, "cert"),
			Nonce:      rapid.StringMatching(`([A-Za-z0-9_-]{4}){1,30}`).Draw(t, "nonce"),
			Expires:    time.Unix(rapid.Int64Range(1e9, 2e11).Draw(t, "expires"), 0).UTC(),
		}
		got, err := ParseMessage(m.Text())
		if err != nil || got != m {
			t.Fatalf("%+v, %v, want %+v", got, err, m)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add(exampleText)
	f.Add(strings.ReplaceAll(exampleText, "sha256:", "none"))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMessage(text)
		if err == nil && m.Text() != text {
			t.Fatalf("%q is read as %q", text, m.Text())
		}
	})
}

// The document shows the text that the code makes.
func TestDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/handshake.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "\n```\n"+exampleText+"\n```\n") {
		t.Error("docs/handshake.md does not show the example")
	}
}
