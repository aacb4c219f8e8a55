package vault_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy passes connections on to a server, later or not to their end.
type proxy struct {
	URL   string
	Delay atomic.Int64 // nanoseconds before each piece that is passed on
	Cut   atomic.Int64 // bytes of a connection that are passed on to the client before it is cut; 0: all

	target string
	done   chan struct{} // closed at the end
	conns  sync.WaitGroup
	mu     sync.Mutex
	open   map[net.Conn]bool
}

func startProxy(t testing.TB, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{URL: "https://" + l.Addr().String(), target: url[len("https://"):], done: make(chan struct{}), open: map[net.Conn]bool{}}
	p.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		close(p.done)
		l.Close()
		p.closeAll()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) note(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = true
	} else {
		delete(p.open, c)
	}
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		p.note(c, true)
		defer p.note(c, false)
	}
	var both sync.WaitGroup
	both.Go(func() {
		defer server.Close()
		io.Copy(server, client)
	})
	both.Go(func() {
		defer client.Close()
		p.copy(client, server)
	})
	both.Wait()
}

// copy passes on what the server says.
func (p *proxy) copy(client, server net.Conn) {
	var passed int64
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		select {
		case <-time.After(time.Duration(p.Delay.Load())):
		case <-p.done:
			return
		}
		if cut := p.Cut.Load(); cut > 0 && passed+int64(n) > cut {
			client.Write(buf[:max(cut-passed, 0)])
			return
		}
		client.Write(buf[:n])
		if passed += int64(n); err != nil {
			return
		}
	}
}
