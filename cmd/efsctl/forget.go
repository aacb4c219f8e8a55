package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/receipt"
	"github.com/spf13/cobra"
)

func (c *ctl) forgetCommand() *cobra.Command {
	var reason, file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "forget FS:PATH [--reason TEXT] [--receipt FILE] [--yes]",
		Short: "Forget an erasure unit: destroy its key and all that it sealed",
		Long: `Destroy the key of the erasure unit that is the directory at PATH, or of all
units below PATH, and delete everything in them. No backup of the data opens
what was in them any more, as far as no copy of the key store holds the key: the
receipt says until when there are such copies.

Which directories are erasure units, the policy says (efsctl policy FS --set
erasure_unit='/patients/*'). What was deleted before is forgotten by the path
that it had.

The receipt is signed and has no name in it. --reason is kept in it in clear:
write no name there. The salt that is printed is kept nowhere: with it, and only
with it, can be shown which path a receipt is about (efsctl verify-receipt).`,
		Example: `  efsctl forget user-data:/patients/173 --reason "request of 3 May"
  efsctl forget user-data:/patients/173 --yes --receipt receipt.json`,
		Args:              args("FS:PATH"),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			fs, path, ok := strings.Cut(args[0], ":")
			if !ok || !efs.ValidFSName(fs) || !strings.HasPrefix(path, "/") {
				return usageError{fmt.Errorf("forget: %q is no path of a file system such as user-data:/patients/173", args[0])}
			}
			if !yes {
				text := fmt.Sprintf("This destroys everything in %s, for ever: no backup of the data brings it back.", args[0])
				if err := confirmText(cmd, text, args[0]); err != nil {
					return err
				}
			}
			done, err := c.client(cmd).Forget(cmd.Context(), admin.ForgetRequest{FS: fs, Path: path, Reason: reason})
			if err != nil {
				return err
			}
			return c.forgotten(cmd, args[0], file, done)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "kept in the receipt, in clear")
	cmd.Flags().StringVar(&file, "receipt", "", "write the receipt to this file too")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.jsonFlag(cmd)
	return cmd
}

// forgotten tells what was forgotten.
func (c *ctl) forgotten(cmd *cobra.Command, what, file string, done admin.ForgetResult) error {
	r, _, err := receipt.Verify(done.Receipt)
	if err != nil {
		return fmt.Errorf("it was forgotten, but its receipt is not in order: %w", err)
	}
	if file != "" {
		if err := os.WriteFile(file, append(done.Receipt, '\n'), 0o644); err != nil {
			return fmt.Errorf("it was forgotten; get its receipt with 'efsctl receipts %s %s': %w", strings.Split(what, ":")[0], r.ID, err)
		}
	}
	if c.json {
		return printJSON(cmd, done)
	}
	printLine(cmd, fmt.Sprintf("Forgot %s: %s, %s, %s; %s destroyed.", what, plural(r.Files, "file", "files"),
		plural(r.Directories, "directory", "directories"), bytesText(r.Bytes), plural(len(r.Units), "key", "keys")))
	if r.Outside > 0 {
		printLine(cmd, fmt.Sprintf("%d of the files lay in no erasure unit: they are deleted, but backups still open them.", r.Outside))
	}
	if r.Damaged > 0 {
		printLine(cmd, fmt.Sprintf("%d records could not be read and were deleted unread: run efsctl fsck.", r.Damaged))
	}
	printLine(cmd, "Copies of the key store: "+copiesText(r.KeyCopies))
	printLine(cmd, "Receipt: "+r.ID.String())
	printLine(cmd, "Salt: "+base64.StdEncoding.EncodeToString(done.Salt))
	return nil
}

func copiesText(k receipt.KeyCopies) string {
	switch {
	case k.Known == 0:
		return "the server knows of none; ones that it does not know of open it until they are gone."
	case k.Never:
		return fmt.Sprintf("%d are known, and one never expires: delete it, as it opens what was forgotten.", k.Known)
	}
	if k.Known == 1 {
		return fmt.Sprintf("1 is known; it expires %s and opens it until then.", k.Last.Format(time.DateOnly))
	}
	return fmt.Sprintf("%d are known; the last expires %s and opens it until then.", k.Known, k.Last.Format(time.DateOnly))
}

func (c *ctl) receiptsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "receipts FS [ID]",
		Short: "List what was forgotten, or print a signed receipt",
		Long: `List the receipts of all that was forgotten in a file system, or print the
signed receipt with an ID, to be given away and verified anywhere.`,
		Example: `  efsctl receipts user-data
  efsctl receipts user-data 0199b8a4-7d0e-7c61-9a54-1f2d3c4b5a69 > receipt.json`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeFS,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := c.client(cmd).Receipts(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case len(args) == 2:
				return printReceipt(cmd, all, args[1])
			case c.json:
				return printJSON(cmd, all)
			}
			return listReceipts(cmd, all)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}

func listReceipts(cmd *cobra.Command, all []json.RawMessage) error {
	rows := [][]string{{"ID", "DESTROYED", "KEYS", "FILES", "BYTES", "BY", "REASON"}}
	for _, document := range all {
		r, _, err := receipt.Verify(document)
		if err != nil {
			return fmt.Errorf("a receipt that the server keeps: %w", err)
		}
		rows = append(rows, []string{r.ID.String(), r.Destroyed.Format(time.RFC3339), fmt.Sprint(len(r.Units)),
			fmt.Sprint(r.Files), bytesText(r.Bytes), r.By, r.Reason})
	}
	return table(cmd.OutOrStdout(), rows)
}

func printReceipt(cmd *cobra.Command, all []json.RawMessage, id string) error {
	for _, document := range all {
		if r, _, err := receipt.Verify(document); err == nil && r.ID.String() == id {
			return printJSON(cmd, document)
		}
	}
	return fmt.Errorf("receipt %s: %w: 'efsctl receipts FS' lists those that there are", id, efs.ErrNotFound)
}

func (c *ctl) receiptKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "receipt-key",
		Short: "Print the public key that receipts are verified with",
		Long: `Print the Ed25519 public key of this server, in base64, that receipts of what
was forgotten are verified with. Give it to whoever is to verify them.`,
		Example: "  efsctl receipt-key > receipt.pub",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := c.client(cmd).ReceiptKey(cmd.Context())
			if err == nil {
				printLine(cmd, base64.StdEncoding.EncodeToString(key))
			}
			return err
		},
	}
}

func (c *ctl) verifyReceiptCommand() *cobra.Command {
	var key, path, salt string
	cmd := &cobra.Command{
		Use:   "verify-receipt FILE --key FILE|KEY [--path PATH --salt SALT]",
		Short: "Verify a receipt of what was forgotten, without a server",
		Long: `Verify the signature of a receipt with the public key of the server that made
it ('efsctl receipt-key'), without a server. With --path and --salt it is also
verified that the receipt is about that path.

Exit codes: 0 it is in order, 1 it is not (or could not be read), 2 wrong usage.`,
		Example: `  efsctl verify-receipt receipt.json --key receipt.pub
  efsctl verify-receipt receipt.json --key receipt.pub --path /patients/173 --salt 5Hh0…`,
		Args: args("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" || (path == "") != (salt == "") {
				return usageError{errors.New("verify-receipt: --key is needed, and --path only together with --salt")}
			}
			document, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading the receipt: %w", err)
			}
			public, err := receiptKey(key)
			if err != nil {
				return err
			}
			return c.verifyReceipt(cmd, document, public, path, salt)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "public key: the file that holds what receipt-key printed, or that itself")
	cmd.Flags().StringVar(&path, "path", "", "the path that it is to be about")
	cmd.Flags().StringVar(&salt, "salt", "", "printed when it was forgotten, base64")
	c.jsonFlag(cmd)
	return cmd
}

// receiptKey reads a public key, as receipt-key prints it, given itself or by the
// name of the file that holds it.
func receiptKey(given string) (ed25519.PublicKey, error) {
	text := []byte(given)
	if b, err := os.ReadFile(given); err == nil {
		text = b
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, usageError{fmt.Errorf("verify-receipt: --key %q is neither a public key as receipt-key prints it nor a file that holds one", given)}
	}
	return key, nil
}

func (c *ctl) verifyReceipt(cmd *cobra.Command, document []byte, key ed25519.PublicKey, path, salt string) error {
	r, by, err := receipt.Verify(document)
	if err != nil {
		return err
	}
	if !key.Equal(by) {
		return errors.New("the receipt was signed with another key than the one given: it is not of that server")
	}
	if path != "" {
		b, err := base64.StdEncoding.DecodeString(salt)
		if err != nil {
			return usageError{fmt.Errorf("verify-receipt: the salt is no base64: %w", err)}
		}
		if !r.IsAbout(strings.Trim(path, "/"), b) {
			return errors.New("the receipt is not about that path, or the salt is another")
		}
	}
	if c.json {
		return printJSON(cmd, r)
	}
	printLine(cmd, fmt.Sprintf("In order: %s of file system %s destroyed at %s.", plural(len(r.Units), "key", "keys"), r.FS, r.Destroyed.Format(time.RFC3339)))
	if path != "" {
		printLine(cmd, "It is about "+path+".")
	}
	printLine(cmd, "Copies of the key store: "+copiesText(r.KeyCopies))
	return nil
}
