// Command efsc is an interactive client of EFS: a shell in which one stores,
// reads and removes files of one file system.
//
// It exits with 0 if all was done, 1 if something failed (a command of a
// script included), and 2 if it was not understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/connect"
	"github.com/efs-project/efs/internal/manual"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/version"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := newRoot()
	manual.Attach(cmd, 1, os.Args[1:])
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(os.Stderr, "efsc:", plain.Error(err))
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// errReported ends a script in which commands failed; they told why.
var errReported = errors.New("commands failed")

// usageError is an error in how efsc, or one of its commands, was called.
type usageError struct{ error }

type flags struct {
	connect     connect.Options
	cache       string
	history     string
	exitOnError bool
}

func newRoot() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "efsc -h HOST[:PORT] -u KEY -c CERT",
		Short: "Interactive client of EFS, the encrypted file system over HTTPS",
		Long: `efsc logs in to one EFS file system and takes commands: post, put, get, cat, ls,
tree, du, find, stat, mkdir, mv, cp, rm, cd, pwd, lcd, lpwd, clear-cache, help,
exit and stop; "help COMMAND" tells of each. The file system and the user are
those of the client certificate.

Decrypted copies that "get" makes lie under /uefs if that is a tmpfs, and in
memory otherwise; clear-cache wipes them. Without a terminal, commands are read
from standard input, one a line, and the exit status tells whether all succeeded.

The history of commands ends with the session, since commands name what is
stored; --history keeps it in a file. Colours are shown on a terminal, unless
NO_COLOR is set.

Exit status: 0 all was done, 1 something failed, 2 the command was not understood.`,
		Example: `  efsc -h efs.example.org -u priv.pgp -c clientCert.crt --ca ca.crt
  efsc -h efs.example.org:8443 -u agent -c clientCert.crt --ca ca.crt
  efsc -e -h efs.example.org -u priv.pgp -c clientCert.crt --ca ca.crt < commands
  printf 'post /notes/a.txt ./a.txt\nls /notes\n' | efsc -h localhost -u priv.pgp -c clientCert.crt --ca ca.crt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%q: efsc takes no arguments; commands are typed at its prompt (efsc --help tells more)", args[0])}
			}
			return nil
		},
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return start(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.Bool("help", false, "this help") // without its letter, which is the host's
	fl.StringVarP(&f.connect.URL, "host", "h", "", "server, HOST[:PORT]")
	fl.StringVarP(&f.connect.Key, "user-key", "u", "", "private key file, .pub file of a key in ssh-agent, or 'agent'")
	fl.StringVarP(&f.connect.Cert, "cert", "c", "", "client certificate with its key (clientCert.crt)")
	fl.StringVar(&f.connect.CA, "ca", "", "CA that signed the server's certificate, ca.crt (default: the system's authorities)")
	fl.StringVar(&f.connect.PassphraseFile, "passphrase-file", "", "file with the passphrase of the key, instead of asking (also EFS_PASSPHRASE_FILE)")
	fl.StringVar(&f.cache, "cache", "/uefs", "tmpfs for decrypted copies")
	fl.StringVar(&f.history, "history", "", "file to keep the history of commands in, readable by you alone (default: none is kept)")
	fl.BoolVarP(&f.exitOnError, "exit-on-error", "e", false, "end a script at the first command that fails")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (efsc --help tells more)", err)}
	})
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if f.connect.URL == "" || f.connect.Key == "" || f.connect.Cert == "" {
			return usageError{errors.New("-h HOST, -u KEY and -c CERT are needed (efsc --help tells more)")}
		}
		return nil
	}
	return cmd
}

// start logs in, tells so, and runs the shell.
func start(ctx context.Context, f flags) error {
	f.connect.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	asking, answered := signal.NotifyContext(ctx, os.Interrupt)
	signer, err := f.connect.Signer(asking)
	answered()
	if err != nil {
		return err
	}
	c, err := connect.DialWith(ctx, f.connect, signer)
	if err != nil {
		return err
	}
	defer c.Close()
	s := &shell{ctx: ctx, client: c, out: os.Stdout, errs: os.Stderr, cache: newCache(f.cache, c.URL()+" "+c.FS()),
		interactive: plain.IsTerminal(os.Stdin), colour: wantsColour(os.Stdout), exitOnError: f.exitOnError, dir: "/", lastDir: "/"}
	if !s.interactive { // nobody types on after Ctrl-C
		var stop context.CancelFunc
		s.ctx, stop = signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
	}
	s.greet(connect.KeyKind(signer))
	if s.in, err = s.newInput(os.Stdin, f.history); err != nil {
		return err
	}
	defer s.in.close()
	err = s.run()
	if err == nil && s.ctx.Err() != nil && ctx.Err() == nil {
		return context.Canceled
	}
	return err
}

// wantsColour reports whether names are to be coloured on f (no-color.org).
func wantsColour(f *os.File) bool {
	return plain.IsTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func (s *shell) greet(kind string) {
	fmt.Fprintf(s.out, "Connected to %s\n", s.client.URL())
	fmt.Fprintln(s.out, "TLS Client Auth: OK.")
	fmt.Fprintf(s.out, "%s User Auth: OK.\n", kind)
	fmt.Fprintln(s.out, "Connection to efs server active.")
	if s.interactive {
		fmt.Fprintf(s.out, "You are %s in %s. `help` lists the commands.\n", s.client.User(), s.client.FS())
	}
}
