package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/connect"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/remotes"
)

// remote is one that is being added.
type remote struct{ remotes.Remote }

func remoteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Give file systems names, list and remove them",
		Example: `  efs remote add drive https://efs.example.org --key priv.pgp --cert clientCert.crt --ca ca.crt
  efs remote list`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(remoteAddCommand(a), remoteListCommand(), remoteRemoveCommand())
	return cmd
}

func remoteAddCommand(a *app) *cobra.Command {
	var r remote
	var check bool
	cmd := &cobra.Command{
		Use:   "add NAME https://HOST[:PORT]",
		Short: "Give a file system a name",
		Long: `Give a file system a name, in place of what had that name before.

The file system and the user are read from the client certificate. --key is a
private key file (OpenPGP, OpenSSH or PKCS#8), the .pub file of a key that
ssh-agent holds, or the word "agent" for the only one it holds. The settings
are kept in $XDG_CONFIG_HOME/efs/remotes.toml; keys stay where they are.`,
		Example: `  efs remote add drive https://efs.example.org --user app1 --key priv.pgp --cert clientCert.crt --ca ca.crt
  efs remote add drive https://efs.example.org --key ~/.ssh/id_ed25519 --cert clientCert.crt --ca ca.crt --check
  efs remote add shared https://efs.example.org --bucket reports --key priv.pgp --cert clientCert.crt --ca ca.crt`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.URL = args[1]
			r.PassphraseFile = a.passphraseFile
			return a.addRemote(cmd, args[0], r, check)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.User, "user", "", "user name (default: the certificate's)")
	f.StringVar(&r.FS, "fs", "", "file system (default: the certificate's)")
	f.StringVar(&r.Bucket, "bucket", "", "another file system to work in, where the user holds grants")
	f.StringVar(&r.Key, "key", "", "private key file, .pub file of a key in ssh-agent, or 'agent'")
	f.StringVar(&r.Cert, "cert", "", "client certificate with its key (clientCert.crt)")
	f.StringVar(&r.CA, "ca", "", "CA that signed the server's certificate (default: the system's authorities)")
	f.BoolVar(&check, "check", false, "log in before remembering it")
	return cmd
}

// addRemote checks what was given before it remembers it.
func (a *app) addRemote(cmd *cobra.Command, name string, r remote, check bool) error {
	if !remotes.Name.MatchString(name) {
		return usageError{fmt.Errorf("%q cannot be a remote's name: two or more letters, digits, '_', '.' and '-'", name)}
	}
	u, err := client.ParseURL(r.URL)
	if err != nil {
		return usageError{err}
	}
	r.URL = u.String()
	if r.Key == "" || r.Cert == "" {
		return usageError{errors.New("--key and --cert are needed: the key that signs your login, and the client certificate (clientCert.crt) that the administrator gave you")}
	}
	if err := r.absolute(); err != nil {
		return err
	}
	if err := r.identify(); err != nil {
		return err
	}
	if err := r.checkCA(); err != nil {
		return err
	}
	if r.Bucket != "" && !efs.ValidFSName(r.Bucket) {
		return usageError{fmt.Errorf("--bucket %q names no file system: 2 to 63 lower-case letters, digits and dashes", r.Bucket)}
	}
	if check {
		c, err := connect.Dial(cmd.Context(), a.dialOptions(r.Remote))
		if err != nil {
			return err
		}
		defer c.Close()
	}
	all, err := remotes.Load()
	if err != nil {
		return err
	}
	all.Remotes[name] = r.Remote
	if err := all.Save(); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is now %s at %s\n", name, r.whose(), r.URL)
	return nil
}

// whose says who works where.
func (r remote) whose() string {
	who := r.User + "@" + r.FS
	if r.Bucket != "" && r.Bucket != r.FS {
		who += " in " + r.Bucket
	}
	return who
}

// absolute makes paths independent of where efs is called, and finds out that
// a file is not there while the person who named it is still looking.
func (r *remote) absolute() error {
	for _, p := range []*string{&r.Key, &r.Cert, &r.CA, &r.PassphraseFile} {
		if *p == "" || p == &r.Key && *p == connect.AgentKey {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// identify fills in whose certificate it is, and refuses another's.
func (r *remote) identify() error {
	cert, err := client.LoadCertificate(r.Cert)
	if err != nil {
		return err
	}
	fs, user, ok := client.CertificateUser(cert.Leaf)
	if ok && (r.User != "" && r.User != user || r.FS != "" && r.FS != fs) {
		return fmt.Errorf("%s is the certificate of %s@%s: leave out --user and --fs, or give the certificate that was made for them", r.Cert, user, fs)
	}
	if ok {
		r.FS, r.User = fs, user
	}
	if r.FS == "" || r.User == "" {
		return usageError{fmt.Errorf("%s does not tell whose it is: give --user and --fs", r.Cert)}
	}
	return nil
}

// checkCA refuses a file that certifies nothing.
func (r *remote) checkCA() error {
	if r.CA == "" {
		return nil
	}
	b, err := os.ReadFile(r.CA)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return fmt.Errorf("%s holds no certificate (PEM): give the server's ca.crt", r.CA)
	}
	return nil
}

func remoteListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the file systems that have names",
		Example: "  efs remote list\n  efs remote list --json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := remotes.Load()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return plain.JSON(out, all.Remotes, "")
			}
			w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(all.Remotes)) {
				r := all.Remotes[name]
				fmt.Fprintf(w, "%s\t%s\t%s\n", name, remote{Remote: r}.whose(), r.URL)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with all settings")
	return cmd
}

func remoteRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Forget a name; files, keys and certificates stay",
		Example:           "  efs remote remove drive",
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: remotes.Complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := remotes.Load()
			if err != nil {
				return err
			}
			if _, ok := all.Remotes[args[0]]; !ok {
				return unknownRemote(args[0], all)
			}
			delete(all.Remotes, args[0])
			return all.Save()
		},
	}
}
