package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/admin"
	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

func (c *ctl) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read and verify the log of who did what",
		Long: `Read and verify the audit log: one line per event, chained so that no line can be
changed, removed or moved unnoticed. docs/audit.md describes it.`,
		Example: "  efsctl audit show --fs user-data --since 24h\n  efsctl audit verify\n  efsctl audit head >> /mnt/worm/efs-heads",
		Args:    args(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.auditShowCommand(), c.auditVerifyCommand(), c.auditHeadCommand(), c.auditTakeKeyCommand())
	return cmd
}

func (c *ctl) auditShowCommand() *cobra.Command {
	var q admin.AuditQuery
	var since, until, object string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show events, with the paths that their labels stand for",
		Long: `Show events, oldest first. Paths are sealed in the log; they are opened here, and
shown as (forgotten) where the key of what they name was destroyed on purpose.

--since and --until take a time (2026-01-31, 2026-01-31T12:00:00Z) or how long
ago (90m, 24h, 7d).`,
		Example: "  efsctl audit show --since 24h --user app1 --fs user-data\n  efsctl audit show --op auth.login --outcome authentication-failed --json",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if q.Since, err = moment(since); err == nil {
				q.Until, err = moment(until)
			}
			if err == nil && object != "" {
				q.Object, err = efs.ParseID(object)
			}
			if err != nil {
				return usageError{fmt.Errorf("audit show: %w", err)}
			}
			_, err = c.client(cmd).AuditShow(cmd.Context(), q, func(text string) {
				if !c.json {
					text = auditText(text)
				}
				printLine(cmd, text)
			})
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "events from this time on")
	f.StringVar(&until, "until", "", "events before this time")
	f.StringVar(&q.User, "user", "", "events of this user (of an administrator on this machine: uid:0)")
	f.StringVar(&q.FS, "fs", "", "events in this file system")
	c.completeFSFlag(cmd)
	f.StringVar(&q.Op, "op", "", "events of this operation, such as file.store")
	f.StringVar(&q.Outcome, "outcome", "", "events with this outcome: ok, or the name of a problem")
	f.StringVar(&object, "object", "", "events about the file with this id")
	f.Uint64Var(&q.From, "from", 0, "events from the line with this number on")
	f.BoolVar(&c.json, "json", false, "print JSON, one object a line")
	return cmd
}

// moment reads a time, or how long ago it was; "" is the zero time.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2026-01-31T12:00:00Z, 2026-01-31, 24h or 7d", s)
}

// auditText is a line of the log for people. What came from outside is shown
// escaped, as the log has it.
func auditText(text string) string {
	var l admin.AuditLine
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return text
	}
	who := l.User
	if l.FS != "" {
		who += "@" + l.FS
	}
	out := fmt.Sprintf("%d  %s  %-18s %-22s %s", l.Seq, l.Time.UTC().Format("2006-01-02 15:04:05.000"), l.Op, quoteUnsafe(who), l.Outcome)
	for _, m := range [][2]string{{"", l.Path}, {"to ", l.ToPath}, {"from ", l.From}, {"", l.Detail}} {
		if m[1] != "" {
			out += "  " + m[0] + quoteUnsafe(m[1])
		}
	}
	if !l.Object.IsZero() {
		out += "  " + l.Object.String()
	}
	return strings.TrimRight(out, " ")
}

// quoteUnsafe quotes what could move the cursor or look like more than one
// field.
func quoteUnsafe(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return fmt.Sprintf("%+q", s)
		}
	}
	return s
}

func (c *ctl) auditHeadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "head",
		Short: "Sign the present end of the log and print it",
		Long: `Sign the present end of the log, keep it where heads are kept, and print it. Kept
elsewhere, on paper if need be, it later proves that nothing was cut off:
efsctl audit verify --head FILE.`,
		Example: "  efsctl audit head >> /mnt/worm/efs-heads",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			head, err := c.client(cmd).AuditHead(cmd.Context())
			if err != nil {
				return err
			}
			printLine(cmd, head)
			return nil
		},
	}
}

func (c *ctl) auditTakeKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "take-key",
		Short: "Take the key that MACs are checked with out of the server",
		Long: `Print the first key of the log and remove it from the server, for good. From then
on not even who has the server with its starter key can make lines of the past;
and nobody can check MACs without what is printed here:
efsctl audit verify --first-key-file FILE.`,
		Example: "  (umask 077; efsctl audit take-key > /media/auditor/audit.key)",
		Args:    args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := c.client(cmd).AuditTakeKey(cmd.Context())
			if key != "" {
				printLine(cmd, key)
			}
			return err
		},
	}
}
