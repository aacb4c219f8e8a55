package vault_test

import (
	"os"
	"strings"
	"testing"
)

// documented returns a Vault policy as docs/kms-vault.md prints it: in a block of
// hcl whose first line is a comment that names it.
func documented(t testing.TB, policy string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/kms-vault.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```hcl\n# "+policy+"\n")
	rules, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("docs/kms-vault.md prints no policy %s", policy)
	}
	return rules
}
