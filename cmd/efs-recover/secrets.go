package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/prompt"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

const maxLine = 64 << 10 // bytes of a file with a passphrase or a key

// firstLine reads the first line of a file, "-" for standard input. The caller
// wipes it.
func firstLine(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	buf := make([]byte, maxLine)
	defer secret.Wipe(buf)
	n, err := io.ReadFull(in, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fmt.Errorf("%w: the first line of '%s' is empty", efs.ErrBadInput, name)
	}
	return bytes.Clone(line), nil
}

// readIdentity reads a private key from the first line of a file that begins
// with one; lines before it that begin with # are passed over.
func readIdentity(name string) (seal.Identity, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	for s.Scan() {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		id, err := seal.ParseIdentity(string(line))
		if err != nil {
			return nil, fmt.Errorf("'%s': %w", name, err)
		}
		return id, nil
	}
	return nil, fmt.Errorf("%w: '%s' holds no private key (EFS-SECRET-KEY-1…)", efs.ErrBadInput, name)
}

func ask(ctx context.Context, text string) ([]byte, error) {
	return prompt.Secret(ctx, func() ([]byte, error) { return starter.TerminalPrompt(text) })
}

// archiveKeys are what may open an archive. A passphrase is asked for where
// nothing else is named.
func (o *options) archiveKeys(ctx context.Context) ([]seal.Identity, error) {
	var ids []seal.Identity
	for _, name := range o.identities {
		id, err := readIdentity(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if o.passphrase == "" && len(ids) > 0 {
		return ids, nil
	}
	var pass []byte
	var err error
	if o.passphrase != "" {
		pass, err = firstLine(o.passphrase)
	} else if pass, err = ask(ctx, "Passphrase of the archive: "); err != nil {
		err = fmt.Errorf("%w: name a file with the passphrase (-p) or a private key (-i)", efs.ErrBadInput)
	}
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(pass)
	return append(ids, seal.PassphraseIdentity(pass, seal.DefaultArgon2Limits)), nil
}

// starterKey is that of the root; nil where none is named and there is a
// recovery key.
func (o *options) starterKey(ctx context.Context, server string) (*secret.Key, error) {
	ways := 0
	for _, given := range []bool{o.starterFile != "", o.starterPass != "", len(o.shares) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, usage("give the starter key in one way: --starter-key-file, --passphrase-file or --share-file")
	case o.starterFile != "":
		found, err := starter.Find(server, starter.Source{File: o.starterFile})
		if err != nil {
			return nil, err
		}
		return found.Key, nil
	case len(o.shares) > 0:
		return o.fromShares(server)
	case o.starterPass != "":
		pass, err := firstLine(o.starterPass)
		if err != nil {
			return nil, err
		}
		return starter.FromPassphrase(server, pass)
	case o.recoveryKey != "":
		return nil, nil
	}
	pass, err := ask(ctx, "Passphrase of this EFS root: ")
	if err != nil {
		return nil, usage("give the starter key (--starter-key-file, --passphrase-file, --share-file) or --recovery-key")
	}
	return starter.FromPassphrase(server, pass)
}
