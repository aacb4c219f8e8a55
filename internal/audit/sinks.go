package audit

import (
	"fmt"
	"path/filepath"
	"strings"
)

// ParseSinks makes the sinks that a configuration names: file:/PATH, syslog
// (the socket /dev/log), syslog:udp://HOST:PORT, syslog:tcp://HOST:PORT,
// syslog:unix:///PATH.
func ParseSinks(names []string) ([]HeadSink, error) {
	var out []HeadSink
	for _, name := range names {
		kind, where, _ := strings.Cut(name, ":")
		switch {
		case kind == "file" && filepath.IsAbs(where):
			out = append(out, NewFileSink(where))
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
			return nil, fmt.Errorf("audit.sinks: %q is none of file:/PATH, syslog, syslog:udp://HOST:PORT, syslog:tcp://HOST:PORT", name)
		}
	}
	return out, nil
}
