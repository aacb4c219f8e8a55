package audit

import (
	"fmt"
	"path/filepath"
	"strings"
)

// ParseSinks makes the sinks that a configuration names: file:/PATH, syslog
// (the socket /dev/log), syslog:udp://HOST:PORT, syslog:tcp://HOST:PORT,
// syslog:unix:///PATH, and kms:PROVIDER, which notes finds.
func ParseSinks(names []string, notes func(provider string) (HeadSink, error)) ([]HeadSink, error) {
	var out []HeadSink
	for _, name := range names {
		kind, where, _ := strings.Cut(name, ":")
		switch {
		case kind == "file" && filepath.IsAbs(where):
			out = append(out, NewFileSink(where))
		case kind == "kms" && where != "":
			s, err := notes(where)
			if err != nil {
				return nil, fmt.Errorf("audit.sinks: %w", err)
			}
			out = append(out, s)
		case name == "syslog":
			where = "unix:///dev/log"
			fallthrough
		case kind == "syslog":
			s, err := NewSyslogSink(where)
			if err != nil {
				return nil, fmt.Errorf("audit.sinks: %w", err)
			}
			out = append(out, s)
		default:
			return nil, fmt.Errorf("audit.sinks: %q is none of file:/PATH, syslog, syslog:udp://HOST:PORT, syslog:tcp://HOST:PORT, kms:PROVIDER", name)
		}
	}
	return out, nil
}
