// Package connect logs in on behalf of a person or a script at a command
// line: it finds the key, asks for its passphrase, and dials.
package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/prompt"
)

// PassphraseFileEnv names the environment variable that points to a file with
// the key's passphrase, for scripts.
const PassphraseFileEnv = "EFS_PASSPHRASE_FILE"

// AgentKey is what is given in place of a key file for the one key that
// ssh-agent holds.
const AgentKey = "agent"

// Options says where to log in, and as whom.
type Options struct {
	URL, FS, User  string
	Bucket         string // the file system to work in; "" for FS
	Key            string // a private key file, the .pub file of a key in ssh-agent, or AgentKey
	Cert, CA       string // files
	PassphraseFile string // instead of asking; PassphraseFileEnv otherwise
	NoPrompt       bool   // ask nobody: fail instead
	Logger         *slog.Logger
}

// Dial loads the key and logs in.
func Dial(ctx context.Context, o Options) (*client.Client, error) {
	signer, err := o.Signer(ctx)
	if err != nil {
		return nil, err
	}
	return DialWith(ctx, o, signer)
}

// DialWith logs in with a key that is loaded already.
func DialWith(ctx context.Context, o Options, signer client.Signer) (*client.Client, error) {
	return client.Dial(ctx, client.Config{
		URL: o.URL, FS: o.FS, User: o.User, Bucket: o.Bucket, Signer: signer,
		CertFile: o.Cert, CAFile: o.CA, Logger: o.Logger,
	})
}

// maxPublicKey bounds how much of a file is looked at for a public key.
const maxPublicKey = 64 << 10

// Signer loads the key, or finds it in ssh-agent. It returns ctx's error if ctx
// ends while a person is asked for the passphrase.
func (o *Options) Signer(ctx context.Context) (client.Signer, error) {
	if o.Key == "" {
		return nil, errors.New("no key to log in with: give the private key file, the .pub file of a key in ssh-agent, or 'agent'")
	}
	if o.Key == AgentKey {
		return client.AgentKey(nil)
	}
	pub, err := publicKeyLine(o.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	if pub != nil {
		return client.AgentKey(pub)
	}
	return client.LoadKey(o.Key, func(question string) ([]byte, error) { return o.passphrase(ctx, question) })
}

// publicKeyLine returns the contents of a file that holds an OpenSSH public
// key, nil if it holds something else.
func publicKeyLine(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPublicKey))
	if err != nil {
		return nil, err
	}
	if line := bytes.TrimSpace(b); bytes.HasPrefix(line, []byte("ssh-")) && !bytes.Contains(line, []byte("\n")) {
		return line, nil
	}
	return nil, nil
}

// passphrase reads the key's passphrase from the file that was named for it,
// else from the terminal without showing it.
func (o *Options) passphrase(ctx context.Context, question string) ([]byte, error) {
	file := o.PassphraseFile
	if file == "" {
		file = os.Getenv(PassphraseFileEnv)
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", err)
		}
		return bytes.TrimRight(b, "\r\n"), nil
	}
	if o.NoPrompt {
		return nil, errors.New("the key is protected by a passphrase")
	}
	return prompt.Secret(ctx, func() ([]byte, error) { return askSecret(question) })
}

// askSecret asks at the terminal, whatever standard input is, and does not
// show what is typed.
func askSecret(question string) ([]byte, error) {
	tty, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("the key is protected by a passphrase, and there is no terminal to ask at: name a file that holds it with --passphrase-file or %s", PassphraseFileEnv)
	}
	defer tty.Close()
	if _, err := fmt.Fprint(tty.out, strings.TrimSuffix(question, " ")+" "); err != nil {
		return nil, err
	}
	secret, err := term.ReadPassword(int(tty.in.Fd()))
	fmt.Fprintln(tty.out)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return secret, nil
}

// terminal is where a person sits; out may be another device than in.
type terminal struct{ in, out *os.File }

func (t *terminal) Close() {
	_ = t.in.Close() // nothing was written that could be lost
	if t.out != t.in {
		_ = t.out.Close()
	}
}
