package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/efs-project/efs/internal/salvage"
	"github.com/efs-project/efs/internal/version"
	"github.com/spf13/cobra"
)

// options are what the flags say.
type options struct {
	// of archives
	passphrase string
	identities []string
	keepGoing  bool

	// of volumes
	place       salvage.Place
	starterFile string
	starterPass string
	shares      []string
	recoveryKey string
	keyBackup   string
	from        string
	run         salvage.Options

	// of both
	out        string
	list       bool
	report     string
	quiet      bool
	completion string
}

const long = `efs-recover reads what EFS stored, without a server. What comes out is a standard
tar (POSIX.1-2001 pax), or a directory.

An archive of efs tar opens with its passphrase (-p) or a private key (-i).

A file system is read from the volume that it lies on (--root, --fs), with the
starter key of its root; where its keys are in another KMS, with the private half
of its recovery recipient (--recovery-key). The tree comes from the index; where
that is missing, damaged, older than it should be or in use by a server, from the
journal; where there is none either, from what the contents themselves tell, below
recovered/. Nothing is written there, and no lock is taken away from a server:
the volume may be mounted read-only.

What is damaged does not end it. What is missing is listed on standard error, or
in full by --report. A file of which a part is lost comes out with zeros there, and
.efs-damaged at the end of its name.

Exit status: 0 everything came out, 1 something is missing, 2 it could not be done.`

const examples = `  efs-recover -p password.txt drive.efs.tar.gz.aes > drive.tar
  efs-recover -i key.txt -o ./drive drive.efs.tar.gz.aes
  efs-recover -p password.txt -t drive.efs.tar.gz.aes
  efs-recover -p password.txt --keep-going -o rest.tar damaged.efs.tar.gz.aes
  efs-recover --root /efs --fs user-data --starter-key-file starter.key -o ./user-data
  efs-recover --root /efs --fs user-data --recovery-key heir.txt --path /invoices > invoices.tar
  efs-recover --root /efs --fs user-data --starter-key-file starter.key -t
  efs-recover --fs user-data --key-backup keys.efs --starter-key-file starter.key \
    --checkpoint bk/index/20260504T031500Z-88120.index --files bk/contents -o ./out`

func newRoot() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:           "efs-recover ARCHIVE | --root DIR --fs NAME",
		Short:         "Read archives and volumes of EFS without a server",
		Long:          long,
		Example:       examples,
		Args:          cobra.ArbitraryArgs,
		RunE:          func(cmd *cobra.Command, args []string) error { return o.do(cmd, args) },
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.SetVersionTemplate("efs-recover {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.out, "output", "o", "", "what to write: FILE.tar, a directory that is new or empty; without: a tar to standard output")
	f.BoolVarP(&o.list, "list", "t", false, "write nothing: list what there is, and check that it opens")
	f.StringVar(&o.report, "report", "", "file for a report in JSON of what came out and what is missing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress; what is missing is told all the same")

	f.StringVarP(&o.passphrase, "passphrase", "p", "", "archive: file whose first line is its passphrase")
	f.StringArrayVarP(&o.identities, "identity", "i", nil, "archive: file with a private key, EFS-SECRET-KEY-1… (repeatable)")
	f.BoolVar(&o.keepGoing, "keep-going", false, "archive: past what is damaged")

	f.StringVar(&o.place.Root, "root", "", "volume: the server's root")
	f.StringVar(&o.place.Name, "fs", "", "volume: name of the file system")
	f.StringVar(&o.starterFile, "starter-key-file", "", "volume: file with the starter key of the root")
	f.StringVar(&o.starterPass, "passphrase-file", "", "volume: file whose first line is the passphrase that the starter key is made from")
	f.StringArrayVar(&o.shares, "share-file", nil, "volume: file with a share of the starter key (repeatable)")
	f.StringVar(&o.recoveryKey, "recovery-key", "", "volume: file with the private half of the recovery recipient")
	f.StringVar(&o.keyBackup, "key-backup", "", "volume: copy of efsctl backup-keys, in place of keys.db and of the server's directory")
	f.StringVar(&o.run.Path, "path", "", "volume: only this file or directory")
	f.StringVar(&o.from, "from", string(salvage.Auto), "volume: read the tree from index, journal, contents, or auto")
	f.BoolVar(&o.run.Orphans, "orphans", false, "volume: also contents that the index does not know, below recovered/")
	f.StringVar(&o.run.Checkpoint, "checkpoint", "", "volume: read the tree from this file (index/….index of a backup)")
	f.StringVar(&o.place.Files, "files", "", "volume: where contents lie, if not below the root")
	f.StringVar(&o.place.Keys, "keys", "", "volume: keys.db, if not below the root")
	f.StringVar(&o.place.Server, "server", "", "volume: the server's directory, if not ROOT/.server")
	f.StringVar(&o.place.System, "system", "", "volume: where the copies of keys lie, if not below the root")
	f.StringVar(&o.place.Index, "index", "", "volume: index.db, if not below the root")
	f.StringVar(&o.run.Scratch, "tmp", "", "volume: directory for a temporary file of sealed records")
	f.StringVar(&o.completion, "completion", "", "print the completion script for bash, zsh, fish or powershell")
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"auto", "index", "journal", "contents"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("completion", cobra.FixedCompletions([]string{"bash", "zsh", "fish", "powershell"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// volumeFlags are those that mean nothing with an archive, archiveFlags those
// that mean nothing with a volume.
var (
	volumeFlags = []string{"fs", "starter-key-file", "passphrase-file", "share-file", "recovery-key", "key-backup", "path", "from", "orphans",
		"checkpoint", "files", "keys", "server", "system", "index", "tmp"}
	archiveFlags = []string{"passphrase", "identity", "keep-going"}
)

func (o *options) do(cmd *cobra.Command, args []string) error {
	given := func(names []string) (is []string) {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				is = append(is, "--"+name)
			}
		}
		return is
	}
	volume := cmd.Flags().Changed("root") || len(args) == 0 && len(given(volumeFlags)) > 0
	switch {
	case o.completion != "":
		return completion(cmd, o.completion)
	case o.list && o.out != "":
		return usage("-t writes nothing: leave -o out")
	case volume && len(args) > 0:
		return usage("give either an archive or --root, not both")
	case volume && len(given(archiveFlags)) > 0:
		return usage("%s is for archives; see --recovery-key, --starter-key-file and --passphrase-file", strings.Join(given(archiveFlags), ", "))
	case volume:
		return o.volume(cmd)
	case len(args) == 0:
		return usage("say what to recover: an archive, or --root DIR --fs NAME")
	case len(args) > 1:
		return usage("one archive at a time, not %d", len(args))
	case len(given(volumeFlags)) > 0:
		return usage("%s is for volumes, with --root", strings.Join(given(volumeFlags), ", "))
	}
	return o.archive(cmd, args[0])
}

func completion(cmd *cobra.Command, shell string) error {
	out := cmd.OutOrStdout()
	switch shell {
	case "bash":
		return cmd.GenBashCompletionV2(out, true)
	case "zsh":
		return cmd.GenZshCompletion(out)
	case "fish":
		return cmd.GenFishCompletion(out, true)
	case "powershell":
		return cmd.GenPowerShellCompletionWithDesc(out)
	}
	return usageError{errors.New("--completion knows bash, zsh, fish and powershell")}
}
