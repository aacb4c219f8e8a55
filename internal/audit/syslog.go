package audit

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// SyslogSink sends heads to a syslog receiver as RFC 5424 has it: over a Unix
// datagram socket, UDP (RFC 5426), or TCP with counted octets (RFC 6587).
type SyslogSink struct {
	network, address string
	host             string

	mu   sync.Mutex
	conn net.Conn // nil: dialled with the next head
}

// priority is facility 13 (log audit), severity 5 (notice).
const priority = 13*8 + 5

// NewSyslogSink returns a sink to a receiver such as unix:///dev/log,
// udp://host:514 or tcp://host:601. It connects with the first head.
func NewSyslogSink(to string) (*SyslogSink, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, fmt.Errorf("syslog receiver %q is no URL such as udp://host:514", to)
	}
	s := &SyslogSink{network: u.Scheme, address: u.Host}
	switch u.Scheme {
	case "unix":
		s.network, s.address = "unixgram", u.Path
	case "udp", "tcp":
	default:
		return nil, fmt.Errorf("syslog receiver %q must begin with unix://, udp:// or tcp://", to)
	}
	if s.address == "" {
		return nil, fmt.Errorf("syslog receiver %q names no address", to)
	}
	if s.host, err = os.Hostname(); err != nil || s.host == "" || strings.ContainsAny(s.host, " \n") {
		s.host = "-"
	}
	return s, nil
}

// Name is the receiver's address.
func (s *SyslogSink) Name() string { return "syslog:" + s.network + ":" + s.address }

// PutHead sends a head. A connection that broke is made again once.
func (s *SyslogSink) PutHead(ctx context.Context, line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	msg := fmt.Appendf(nil, "<%d>1 %s %s efs %d audit-head - %s", priority,
		time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, os.Getpid(), bytes.TrimRight(line, "\n"))
	if s.network == "tcp" {
		msg = append(fmt.Appendf(nil, "%d ", len(msg)), msg...)
	}
	err := s.send(ctx, msg)
	if err != nil {
		err = s.send(ctx, msg)
	}
	if err != nil {
		return fmt.Errorf("sending a head: %w", err)
	}
	return nil
}

func (s *SyslogSink) send(ctx context.Context, msg []byte) (err error) {
	if s.conn == nil {
		if s.conn, err = (&net.Dialer{}).DialContext(ctx, s.network, s.address); err != nil {
			s.conn = nil
			return err
		}
	}
	if end, ok := ctx.Deadline(); ok {
		_ = s.conn.SetWriteDeadline(end) // a connection that is gone fails at the write
	}
	if _, err = s.conn.Write(msg); err != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	return err
}

// Close ends the connection.
func (s *SyslogSink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
