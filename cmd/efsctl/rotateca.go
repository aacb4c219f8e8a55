package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

func (c *ctl) rotateCACommand() *cobra.Command {
	var server bool
	overlap := "90d"
	cmd := &cobra.Command{
		Use:   "rotate-ca FS | --server [--overlap 90d]",
		Short: "Make another certificate authority",
		Long: `Make another authority for the client certificates of a file system's users, or
with --server for the server's own certificate.

Certificates that users have stay good until they end; new and renewed ones are
of the new authority. The ca.crt of the file system holds both for as long:
where a TLS terminator checks chains, give it the new file.

With --server, the server goes on with a certificate of the old authority for
the overlap, and ca.crt (in ROOT/.server and in what create-user gives) holds
both authorities. Clients need the new ca.crt before the overlap ends.`,
		Example: `  efsctl rotate-ca user-data
  efsctl rotate-ca @server          # of the administrators' certificates
  efsctl rotate-ca --server --overlap 30d`,
		Args: func(cmd *cobra.Command, given []string) error {
			if server {
				return args()(cmd, given)
			}
			return args("FS")(cmd, given)
		},
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := admin.RotateCARequest{}
			if server {
				life, err := config.ParseDuration(overlap)
				if err != nil {
					return usageError{fmt.Errorf("rotate-ca: --overlap: %w", err)}
				}
				r.Overlap = life
			} else if r.FS = args[0]; r.FS == "" {
				return usageError{errors.New("rotate-ca: FS is empty")}
			}
			done, err := c.client(cmd).RotateCA(cmd.Context(), r)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, done)
			}
			printLine(cmd, "New authority: SHA-256 "+done.SHA256)
			if server {
				printLine(cmd, fmt.Sprintf("The server shows a certificate of the old one until %s: give clients the new ca.crt by then.", done.Until.Format(time.DateOnly)))
			} else {
				printLine(cmd, fmt.Sprintf("Certificates of the old one are good until they end, on %s at the latest.", done.Until.Format(time.DateOnly)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "the authority of the server's own certificate")
	cmd.Flags().StringVar(&overlap, "overlap", overlap, "with --server: how long a certificate of the old authority is shown")
	c.jsonFlag(cmd)
	return cmd
}
