// Package keyfile reads and writes what archives are opened with: files that
// hold a private key or a passphrase.
package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/seal"
)

// maxFile bounds what is read of a file, in bytes.
const maxFile = 64 << 10

// Write makes a new file with a private key, which nobody else can read. An
// error that is fs.ErrExist if there is one already.
func Write(path string, k *seal.PrivateKey, now time.Time) error {
	text, err := k.Text()
	if err != nil {
		return err
	}
	b := fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), k.Public(), text)
	defer clear(b)
	if err := atomicfile.WriteNew(path, b, 0o600); err != nil {
		return fmt.Errorf("writing the private key: %w", err)
	}
	return nil
}

// ReadIdentity reads a private key, "EFS-SECRET-KEY-1…", from a file in which
// lines that begin with # are comments.
func ReadIdentity(path string) (seal.Identity, error) {
	b, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	defer clear(b)
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		id, err := seal.ParseIdentity(string(line))
		if err != nil {
			return nil, fmt.Errorf("reading the private key in %s: %w", path, err)
		}
		return id, nil
	}
	return nil, fmt.Errorf("reading the private key: %s holds none (efs keygen makes one)", path)
}

// ReadPassphrase returns the first line of a file, without its end. The caller
// wipes it.
func ReadPassphrase(path string) ([]byte, error) {
	b, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	clear(rest)
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fmt.Errorf("reading the passphrase: the first line of %s is empty", path)
	}
	return line, nil
}

// ParseRecipients reads public keys, "efs1…", each of them in the text itself
// or as the name of a file that holds some, one a line, with comments.
func ParseRecipients(given []string) (all []seal.Recipient, err error) {
	for _, g := range given {
		lines := []string{g}
		if !strings.HasPrefix(strings.ToLower(g), "efs1") {
			b, err := read(g)
			if errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("%q is neither a public key (efs1…) nor a file that holds some", g)
			}
			if err != nil {
				return nil, fmt.Errorf("reading public keys: %w", err)
			}
			lines = strings.Split(string(b), "\n")
		}
		n := len(all)
		for _, line := range lines {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			r, err := seal.ParseRecipient(line)
			if err != nil {
				return nil, fmt.Errorf("reading a public key: %w", err) // who mistakes a private key for it is not shown it
			}
			all = append(all, r)
		}
		if len(all) == n {
			return nil, fmt.Errorf("%s holds no public key (efs1…)", g)
		}
	}
	return all, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	if err != nil {
		clear(b)
		return nil, err
	}
	return b, nil
}
