package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs/internal/session"
)

// conn is one accepted connection, below TLS, and whose it is. What is known
// of its certificate is remembered, so that a certificate is judged once and
// not at every request, until anything about any user changes.
type conn struct {
	net.Conn
	home   *conns
	from   netip.Addr // whose share of connections it counts against; zero: nobody's
	user   userKey    // who has shown a certificate on it; zero: nobody, or a proxy
	judged atomic.Pointer[judgement]
	proven atomic.Pointer[proof]
	cancel atomic.Pointer[context.CancelFunc] // of its requests' context; nil: what serves it notices by itself
}

// proof is a session that was found by credentials which came over this
// connection. The same ones, from the same certificate, find it again without
// work while the session and the token live.
type proof struct {
	token, authorization string // as the headers had them
	cert                 string
	sessions             *session.Manager // that found it; another knows nothing of it
	session              *session.Session
	until                int64 // as VerifyUntil has it
}

// holds reports whether these credentials are the ones that were proven. They
// need not be compared in constant time: whoever sends on this connection has
// sent them before.
func (p *proof) holds(sessions *session.Manager, h http.Header, cert string) bool {
	if p == nil || p.sessions != sessions || p.cert != cert || !sessions.Lives(p.session, p.until) {
		return false
	}
	return single(h["Efs-Token"], p.token) && single(h["Authorization"], p.authorization)
}

// single reports whether a header was sent once, with this value; or not at
// all, if the value is empty.
func single(sent []string, value string) bool {
	return len(sent) == 1 && sent[0] == value || len(sent) == 0 && value == ""
}

// judgement is an outcome of judging a certificate.
type judgement struct {
	generation uint64 // of Server.generation when it was made
	header     string // the Client-Cert header it was read from; "" for TLS
	who        identity
	err        error
}

// Close closes the connection at once, without a word of TLS, and forgets it.
// Then it ends what its requests are at: some neither read nor write for long.
func (c *conn) Close() error {
	c.home.remove(c)
	err := c.Conn.Close()
	if cancel := c.cancel.Load(); cancel != nil {
		(*cancel)()
	}
	return err
}

// conns are the open connections of a server.
type conns struct {
	mu  sync.Mutex
	all map[*conn]struct{}
	max int

	// Connections that have not shown the certificate of a user count against
	// the address they come from, so that no address keeps all others out.
	strange    map[netip.Addr]int
	maxStrange int

	// The others count against their users, of whom none may have more than
	// half of all.
	users map[userKey]int
}

func (cs *conns) add(c *conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.all) >= cs.max || cs.strange[c.from] >= cs.maxStrange {
		return false
	}
	if c.from.IsValid() {
		if cs.strange == nil {
			cs.strange = map[netip.Addr]int{}
		}
		cs.strange[c.from]++
	}
	cs.all[c] = struct{}{}
	return true
}

func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.all, c)
	cs.forgive(c)
	cs.disown(c)
}

// proven takes c, which has shown the certificate of a user, from its
// address's share, and puts it into the user's (of nobody: a proxy's). It is
// false if that is used up.
func (cs *conns) proven(c *conn, user userKey) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.all[c]; !open || c.user == user && user != (userKey{}) {
		return true
	}
	if user != (userKey{}) {
		if cs.users[user] >= max(1, cs.max/2) {
			return false
		}
		cs.disown(c)
		if cs.users == nil {
			cs.users = map[userKey]int{}
		}
		cs.users[user]++
		c.user = user
	}
	cs.forgive(c)
	return true
}

// disown takes c from its user's share.
func (cs *conns) disown(c *conn) {
	if c.user == (userKey{}) {
		return
	}
	if cs.users[c.user]--; cs.users[c.user] <= 0 {
		delete(cs.users, c.user)
	}
	c.user = userKey{}
}

func (cs *conns) forgive(c *conn) {
	if !c.from.IsValid() {
		return
	}
	if cs.strange[c.from]--; cs.strange[c.from] <= 0 {
		delete(cs.strange, c.from)
	}
	c.from = netip.Addr{}
}

func (cs *conns) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.all)
}

// of returns the connections whose own certificate was found to be of this
// user of this file system; an empty user means all of them. A connection
// from a proxy belongs to nobody: other users' requests may be on it.
func (cs *conns) of(fs, user string) []*conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var out []*conn
	for c := range cs.all {
		j := c.judged.Load()
		if j != nil && j.err == nil && j.header == "" && j.who.fsName == fs && (user == "" || j.who.user == user) {
			out = append(out, c)
		}
	}
	return out
}

// tracked keeps the connections of a listener in a registry. Connections above
// its bound are closed at once, so that their clients learn it.
type tracked struct {
	net.Listener
	conns   *conns
	proxies []netip.Prefix // whose connections are many others'
}

// origin returns the address whose share a connection counts against: of an
// IPv6 host its network, which it can have all addresses of.
func (t tracked) origin(c net.Conn) netip.Addr {
	if p, ok := c.(interface{ Raw() net.Conn }); ok {
		c = p.Raw() // what stands in the header of the PROXY protocol has not been read
	}
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || fromProxy(t.proxies, c.RemoteAddr().String()) {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	if addr.Is6() {
		network, _ := addr.WithZone("").Prefix(64) // 64 bits are not too many for it
		addr = network.Addr()
	}
	return addr
}

// Accept waits for the next connection that may be taken on.
func (t tracked) Accept() (net.Conn, error) {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		k := &conn{Conn: c, home: t.conns, from: t.origin(c)}
		if t.conns.add(k) {
			return k, nil
		}
		c.Close()
	}
}

type connKey struct{}

// withConn is http.Server.ConnContext: requests find their connection by it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	for {
		above, ok := c.(interface{ NetConn() net.Conn }) // TLS, and what lies between
		if !ok {
			break
		}
		c = above.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request, or nil where the handler runs
// without one of our listeners, as in tests of a single handler.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
