package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/plain"
)

// listed is a member as --json shows it.
type listed struct {
	Path     string            `json:"path"`
	Kind     string            `json:"kind"`
	Size     int64             `json:"size"`
	Mode     string            `json:"mode,omitempty"`
	Modified time.Time         `json:"modified"`
	Created  time.Time         `json:"created,omitzero"`
	Type     string            `json:"type,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Target   string            `json:"target,omitempty"`
	SHA256   string            `json:"sha256,omitempty"`
	Version  uint64            `json:"version,omitempty"`
	Owner    string            `json:"owner,omitempty"`
	Lost     []archive.Range   `json:"lost,omitempty"`
	Removed  bool              `json:"removed,omitempty"` // the archive removes what is there
}

// listArchive lists what is in an archive.
func (f *tarFlags) listArchive(cmd *cobra.Command, name string) error {
	r, err := f.open(cmd, name, func(int64) {})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return f.explain(name, err)
		}
		if err := f.listMember(cmd.OutOrStdout(), r.Reader, m); err != nil {
			return err
		}
	}
	if !f.quiet && !f.asJSON {
		tellHead(cmd.ErrOrStderr(), r.Info())
	}
	return f.tellLosses(cmd, r.Reader)
}

func (f *tarFlags) listMember(out io.Writer, r *archive.Reader, m *archive.Member) error {
	if m.Removed {
		return r.EachRemoved(func(p string) error {
			if f.asJSON {
				return plain.JSON(out, struct {
					Path    string `json:"path"`
					Removed bool   `json:"removed"`
				}{p, true}, "")
			}
			_, err := fmt.Fprintf(out, "removed %s\n", plain.Printable(out, p))
			return err
		})
	}
	mode := ""
	if m.Mode != 0 {
		mode = client.FormatMode(m.Mode)
	}
	if f.asJSON {
		return plain.JSON(out, listed{m.Name, m.Kind.String(), m.Size, mode, m.Modified, m.Created,
			m.Type, m.Meta, m.Target, m.SHA256, m.Version, m.Owner, m.Lost, false}, "")
	}
	name := m.Name
	switch m.Kind {
	case efs.KindDir:
		name += "/"
	case efs.KindSymlink:
		name += " -> " + m.Target
	}
	_, err := fmt.Fprintf(out, "%-5s %12d %s %s\n", orDash(mode), m.Size, m.Modified.Local().Format("2006-01-02 15:04:05"), plain.Printable(out, name))
	return err
}

func tellHead(out io.Writer, i archive.Info) {
	since := ""
	if i.Since > 0 {
		since = fmt.Sprintf(", what changed since change %d", i.Since)
	}
	fmt.Fprintf(out, "efs: %s as of change %d, archived %s%s\n", plain.Printable(out, i.FS+":"+i.Path), i.Sequence, i.Created.Local().Format("2006-01-02 15:04:05"), since)
}

// tellLosses ends what was done with --keep-going.
func (f *tarFlags) tellLosses(cmd *cobra.Command, r *archive.Reader) error {
	for _, l := range r.Losses() {
		fmt.Fprintln(cmd.ErrOrStderr(), "efs: lost:", plain.Printable(cmd.ErrOrStderr(), l.String()))
	}
	if len(r.Losses()) > 0 {
		return errReported
	}
	if r.Damaged() {
		fmt.Fprintln(cmd.ErrOrStderr(), "efs: the archive is damaged, but no member of it is lost")
		return errReported
	}
	return nil
}
