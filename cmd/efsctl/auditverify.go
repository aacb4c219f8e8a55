package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/audit"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/spf13/cobra"
)

// auditVerify is what a verification is to use.
type auditVerify struct {
	dir, starterKey, firstKey, public string
	heads                             []string
}

func (c *ctl) auditVerifyCommand() *cobra.Command {
	var v auditVerify
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify that no line of the log was changed, removed or moved",
		Long: `Verify every line of the log, and that it reaches the last heads that were kept
elsewhere. A running server verifies its own log. Where none runs:

  --starter-key-file FILE  all is checked, with the keys that the server keeps
  --first-key-file FILE    all is checked, with the key that take-key printed
  neither                  hashes and signed heads are checked, MACs are not;
                           lines after the last head could have been changed

Without the server's keys, signatures are checked with audit.pub beside the log,
unless --public-key names a copy that was kept elsewhere.

Exit codes: 0 the log is whole, 1 it is not (or could not be read), 2 wrong usage.`,
		Example: `  efsctl audit verify
  efsctl audit verify --head /mnt/worm/efs-heads
  efsctl audit verify --root /mnt/copy --starter-key-file starter.key`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.verify(cmd, &v)
			if err != nil {
				return err
			}
			return c.printVerified(cmd, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&v.dir, "dir", "", "verify the log in this directory, without a server (default: ROOT/.server/audit where no server runs)")
	f.StringVar(&v.starterKey, "starter-key-file", "", "file that holds the base64 starter key of the root, for a server that does not run")
	f.StringVar(&v.firstKey, "first-key-file", "", "file that holds the key that take-key printed")
	f.StringVar(&v.public, "public-key", "", "PEM file of the key that signs heads")
	f.StringSliceVar(&v.heads, "head", nil, "file of heads that were kept elsewhere (repeatable)")
	c.jsonFlag(cmd)
	return cmd
}

func (c *ctl) verify(cmd *cobra.Command, v *auditVerify) (*audit.Report, error) {
	heads, err := v.readHeads()
	if err != nil {
		return nil, usageError{err}
	}
	first, err := readFirstKey(v.firstKey)
	if err != nil {
		return nil, usageError{err}
	}
	if v.dir == "" && v.starterKey == "" {
		request := admin.AuditVerifyRequest{FirstKey: base64.StdEncoding.EncodeToString(first)}
		for _, h := range heads {
			request.Heads = append(request.Heads, strings.TrimRight(string(h), "\n"))
		}
		r, err := c.client(cmd).AuditVerify(cmd.Context(), request)
		if !errors.Is(err, admin.ErrNoServer) {
			return &r, err
		}
	}
	check, err := v.check(c.root)
	if err != nil {
		return nil, err
	}
	if first != nil {
		check.First = first
	}
	check.Heads = heads
	return audit.Verify(check)
}

// check collects what is known without a server.
func (v *auditVerify) check(root string) (audit.Check, error) {
	dir := v.dir
	if dir == "" {
		dir = node.AuditDir(root)
	}
	check := audit.Check{Dir: dir}
	if v.starterKey != "" {
		var err error
		if check, err = boxCheck(root, dir, v.starterKey); err != nil {
			return check, err
		}
	}
	if check.Public != nil && v.public == "" {
		return check, nil
	}
	path := v.public
	if path == "" {
		path = filepath.Join(dir, audit.PublicName)
	}
	var err error
	check.Public, err = audit.ReadPublic(path)
	return check, err
}

// boxCheck opens the secrets of a root whose server does not run.
func boxCheck(root, dir, keyFile string) (audit.Check, error) {
	if err := secret.Harden(); err != nil {
		return audit.Check{}, err
	}
	home := filepath.Join(root, ".server")
	key, err := starter.Find(home, starter.Source{File: keyFile})
	if err != nil {
		return audit.Check{}, err
	}
	box, err := starter.OpenBox(home, key.Key)
	if err != nil {
		key.Key.Destroy()
		return audit.Check{}, err
	}
	defer box.Close()
	return audit.BoxCheck(box, dir)
}

func (v *auditVerify) readHeads() (heads [][]byte, err error) {
	for _, path := range v.heads {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--head: %w", err)
		}
		some, err := audit.ReadHeads(path)
		if err != nil {
			return nil, fmt.Errorf("--head: %w", err)
		}
		heads = append(heads, some...)
	}
	return heads, nil
}

func readFirstKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--first-key-file: %w", err)
	}
	defer secret.Wipe(b)
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != secret.Size {
		return nil, fmt.Errorf("--first-key-file: %s holds no key as efsctl audit take-key printed it", path)
	}
	return key, nil
}

func (c *ctl) printVerified(cmd *cobra.Command, r *audit.Report) error {
	if c.json {
		if err := printJSON(cmd, r); err != nil {
			return err
		}
	} else {
		printReportText(cmd, r)
	}
	if r.Bad != nil {
		return codedError{errors.New(""), exitFailure}
	}
	return nil
}

func printReportText(cmd *cobra.Command, r *audit.Report) {
	for _, t := range r.Torn {
		printLine(cmd, "A crash left an unfinished line: "+t)
	}
	if b := r.Bad; b != nil {
		where := b.File
		if b.Line > 0 {
			where = fmt.Sprintf("%s, line %d", b.File, b.Line)
		}
		printLine(cmd, fmt.Sprintf("NOT WHOLE: %s (number %d): %s", where, b.Seq, b.Why))
		return
	}
	printLine(cmd, fmt.Sprintf("Verified %d lines, %d to %d, in %d files.", r.Lines, r.First, r.Last, r.Files))
	if !r.MACs {
		printLine(cmd, "MACs were NOT checked: that takes --starter-key-file or --first-key-file.")
	}
	if r.Head == 0 {
		printLine(cmd, "There is no head yet.")
		return
	}
	printLine(cmd, fmt.Sprintf("Newest head: line %d of %s, %d lines before the end. Heads kept elsewhere that agree: %d.",
		r.Head, r.HeadTime.UTC().Format(time.RFC3339), r.Beyond, r.Kept))
}
