package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestAFileKeepsTheHeadsOfLogAndIndexes(t *testing.T) {
	sink := NewFileSink(filepath.Join(t.TempDir(), "heads"))
	w := newWorld(t, func(o *Options) { o.Sinks = []HeadSink{sink} })
	w.store(3)
	fs := efs.NewID()
	head := efs.Head{FS: fs, Revision: 7, Seq: 5, Link: [32]byte{1, 2, 3}, Time: 42}
	w.log.AnchorIndex("docs", head)
	must(t, w.log.Checkpoint(context.Background()))
	if got, ok := w.log.IndexAnchor(fs); !ok || got != head {
		t.Errorf("%v, %v", got, ok)
	}
	if _, ok := w.log.IndexAnchor(efs.NewID()); ok {
		t.Error("the head of another file system")
	}
	must(t, w.log.Close())
	heads, err := sink.Heads()
	must(t, err)
	if r := w.good(func(c *Check) { c.Heads = heads }); r.Kept != 1 {
		t.Errorf("%+v of %d", r, len(heads))
	}
}

func TestTheEndOfALongFileOfHeadsIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heads")
	line := strings.Repeat("x", 999) + "\n"
	must(t, os.WriteFile(path, []byte(strings.Repeat(line, 3000)+"last\n"), 0o600))
	heads, err := NewFileSink(path).Heads()
	must(t, err)
	if len(heads) != 1049 || string(heads[0]) != line || string(heads[len(heads)-1]) != "last\n" {
		t.Errorf("%d heads", len(heads))
	}
	if all, err := ReadHeads(path); err != nil || len(all) != 3001 {
		t.Errorf("%d heads of all, %v", len(all), err)
	}
}

func TestSyslogReceiversGetHeads(t *testing.T) {
	for _, network := range []string{"udp", "tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address, receive := receiver(t, network)
			sink, err := NewSyslogSink(address)
			must(t, err)
			defer sink.Close()
			w := newWorld(t, func(o *Options) { o.Sinks = []HeadSink{sink} })
			w.store(1)
			must(t, w.log.Checkpoint(context.Background()))
			msg := receive()
			if !strings.HasPrefix(msg, "<109>1 2") || !strings.Contains(msg, " efs ") {
				t.Error(msg)
			}
			_, head, ok := strings.Cut(msg, " audit-head - ")
			if !ok {
				t.Fatal(msg)
			}
			must(t, w.log.Close())
			if r := w.good(func(c *Check) { c.Heads = [][]byte{[]byte(head + "\n")} }); r.Kept != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
	for _, bad := range []string{"", "host:514", "http://x", "udp://", "unix://"} {
		if _, err := NewSyslogSink(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// receiver is a syslog receiver.
func receiver(t *testing.T, network string) (address string, receive func() string) {
	t.Helper()
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		return "tcp://" + l.Addr().String(), func() string {
			c, err := l.Accept()
			must(t, err)
			defer c.Close()
			in := bufio.NewReader(c)
			n := 0
			_, err = fmt.Fscanf(in, "%d ", &n)
			must(t, err)
			b := make([]byte, n)
			_, err = io.ReadFull(in, b)
			must(t, err)
			return string(b)
		}
	}
	where := "127.0.0.1:0"
	if network == "unix" {
		network, where = "unixgram", filepath.Join(t.TempDir(), "log")
	}
	c, err := net.ListenPacket(network, where)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	address = strings.TrimSuffix(network, "gram") + "://" + c.LocalAddr().String()
	return address, func() string {
		b := make([]byte, 64<<10)
		n, _, err := c.ReadFrom(b)
		must(t, err)
		return string(b[:n])
	}
}
