package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/prompt"
	"github.com/efs-project/efs/internal/userkey"
	"github.com/spf13/cobra"
)

const createUserLong = `Make a user: take the public key that the user will sign with, print its hashes
for checking out of band, and issue a TLS client certificate. Certificate and TLS
key are printed, also where --out writes them: keep the output to yourself.

The key is an armored OpenPGP key, an ssh-ed25519 line or a PEM Ed25519 key, from
--key, from standard input or from the terminal. --generate makes a key pair here
instead, which needs --out. With --csr the certificate is for the user's own TLS
key; else a TLS key is made, which leaves in the bundle and is kept nowhere.

--out DIR writes clientCert.crt (certificate, key and chain, usable as
curl --cert), ca.crt (to trust the server) and, with --generate, priv.pgp.
--out - writes them as a tar to standard output, and what is told to standard
error.

A user may do everything in the file system, and nothing in others. With --no-grants
the user may do nothing until efsctl grant says what.`

const createUserExample = `  efsctl create-user app1 --fs user-data --key app1.asc --out ./app1
  docker exec -i efs-server efsctl create-user app1 --fs user-data < app1.asc
  efsctl create-user app2 --fs user-data --key ~/.ssh/id_ed25519.pub
  efsctl create-user app3 --fs user-data --generate --out ./app3
  docker exec efs-server efsctl create-user app3 --fs user-data --generate --out - | tar x
  efsctl create-user app4 --fs user-data --key app4.asc --no-grants`

// createUserFlags are the flags of create-user.
type createUserFlags struct {
	fs, key, csr, out string
	generate          bool
	noGrants          bool
}

func (c *ctl) createUserCommand() *cobra.Command {
	var f createUserFlags
	cmd := &cobra.Command{
		Use:     "create-user NAME --fs FS [--key FILE|-] [--generate] [--csr FILE] [--out DIR|-] [--no-grants]",
		Short:   "Make a user with a public key and a TLS client certificate",
		Long:    createUserLong,
		Example: createUserExample,
		Args:    args("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args[0]); err != nil {
				return err
			}
			return c.createUser(cmd, args[0], f)
		},
	}
	c.fsFlag(cmd, &f.fs)
	cmd.Flags().BoolVar(&f.noGrants, "no-grants", false, "the user may do nothing until something is granted")
	f.keyFlags(cmd)
	return cmd
}

// keyFlags adds the flags about keys and certificates.
func (f *createUserFlags) keyFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "file with the user's public key, or - for standard input")
	cmd.Flags().BoolVar(&f.generate, "generate", false, "make a key pair for the user (needs --out)")
	cmd.Flags().StringVar(&f.csr, "csr", "", "file with a certificate request for the user's own TLS key")
	cmd.Flags().StringVar(&f.out, "out", "", "directory for the user's files, or - for a tar on standard output")
}

// check refuses flags that do not go together, before anything is made.
func (f *createUserFlags) check(cmd *cobra.Command, name string) error {
	if err := needFS(cmd, f.fs); err != nil {
		return err
	}
	switch {
	case !efs.ValidUserName(name):
		return usageError{fmt.Errorf("user name %q: letters, digits and . _ - only, at most 63, beginning with a letter or digit", name)}
	case f.generate && f.key != "":
		return usageError{errors.New("--key and --generate exclude each other: is there a key, or is one to be made?")}
	case f.generate && f.out == "":
		return usageError{errors.New("--generate needs --out DIR (or --out - for a tar): the private key must go somewhere")}
	}
	return nil
}

// tell is where what people read goes: not into a tar.
func (f *createUserFlags) tell(cmd *cobra.Command) io.Writer {
	if f.out == "-" {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

func (c *ctl) createUser(cmd *cobra.Command, name string, f createUserFlags) error {
	// What the user's files are called must be free before a user is made.
	files, err := newUserFiles(cmd, f.out, f.generate)
	if err != nil {
		return err
	}
	created := false
	defer func() {
		if !created {
			files.drop()
		}
	}()
	request := admin.CreateUserRequest{FS: f.fs, User: name, NoGrants: f.noGrants}
	var private []byte
	if f.generate {
		var public *userkey.Public
		if private, public, err = userkey.Generate(name); err != nil {
			return err
		}
		defer clear(private)
		request.Key = string(public.Marshal())
	} else if request.Key, err = readPublicKey(cmd, f.tell(cmd), name, f.key); err != nil {
		return err
	}
	if f.csr != "" {
		csr, err := os.ReadFile(f.csr)
		if err != nil {
			return fmt.Errorf("certificate request: %w", err)
		}
		request.CSR = string(csr)
	}
	client := c.client(cmd)
	client.Line = func(line string) { fmt.Fprintln(f.tell(cmd), line) }
	result, err := client.CreateUser(cmd.Context(), request)
	if err != nil {
		return err
	}
	created = true
	if err := files.write(result, private); err != nil {
		return fmt.Errorf("the user was made, but writing the files failed, and with them the TLS key is lost: %w\nRun `efsctl delete-user %s --fs %s` and create the user again", err, name, f.fs)
	}
	return nil
}

// maxKey bounds a public key's text, bytes.
const maxKey = 64 << 10

// readPublicKey reads a user's public key from file, or asks for it on the
// terminal, or reads standard input to its end. The question goes to tell.
func readPublicKey(cmd *cobra.Command, tell io.Writer, user, file string) (string, error) {
	switch {
	case file != "" && file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("public key: %w", err)
		}
		defer f.Close()
		return readKeyText(f, user)
	case file == "":
		fmt.Fprintf(tell, "Copy %s PGP public key:\n", user)
	}
	in := cmd.InOrStdin()
	return prompt.Read(cmd.Context(), func() (string, error) {
		if isTerminal(in) {
			return readTyped(in, user)
		}
		return readKeyText(in, user)
	}, nil)
}

func readKeyText(r io.Reader, user string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err != nil {
		return "", fmt.Errorf("reading the public key: %w", err)
	}
	if len(b) > maxKey {
		return "", fmt.Errorf("public key: longer than %d bytes; export only this key, with --export-options export-minimal", maxKey)
	}
	if strings.TrimSpace(string(b)) == "" {
		return "", noKey(user)
	}
	return string(b), nil
}

// readTyped reads a key pasted into a terminal: a line of OpenSSH, or to the
// end of an armored block, without waiting for the end of input.
func readTyped(r io.Reader, user string) (string, error) {
	in := bufio.NewReader(io.LimitReader(r, maxKey))
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		text.WriteString(line)
		trimmed := strings.TrimSpace(line)
		done := strings.HasPrefix(trimmed, "-----END ") || strings.HasPrefix(trimmed, "ssh-")
		if done || err != nil || trimmed == "" && strings.TrimSpace(text.String()) == "" {
			break
		}
	}
	if strings.TrimSpace(text.String()) == "" {
		return "", noKey(user)
	}
	return text.String(), nil
}

func noKey(user string) error {
	return fmt.Errorf("no public key was given: pipe it in with `docker exec -i efs-server efsctl create-user %s … < %s.asc`, name its file with --key, or have a key pair made with --generate --out DIR", user, user)
}
