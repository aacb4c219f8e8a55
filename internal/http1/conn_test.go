package http1

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

func TestSilentConnectionsAreEnded(t *testing.T) {
	for name, said := range map[string]string{"nothing": "", "half a head": "GET / HTTP/1.1\r\nHost", "one request": get} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(http.ResponseWriter, *http.Request) {})
			s.HeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 400*time.Millisecond
			p := s.dial()
			p.send(said)
			if said == get {
				p.answer("GET")
			}
			p.wantEnd()
		})
	}
}

// A head that comes byte by byte has one time limit, not one for each byte.
func TestATrickledHeadIsEnded(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") })
	s.HeaderTimeout = 300 * time.Millisecond
	p := s.dial()
	for range 200 {
		if _, err := io.WriteString(p, "G"); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.wantEnd()
}

func TestShutdownFinishesTheRequestsUnderWay(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
		io.WriteString(w, "done")
	})
	idle, fresh, busy := s.dial(), s.dial(), s.dial()
	idle.ask(get)
	busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	<-begun
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(short); err != context.DeadlineExceeded {
		t.Errorf("Shutdown did not wait: %v", err)
	}
	idle.wantEnd()
	fresh.wantEnd()
	stopped := make(chan error)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	close(goOn)
	resp, body, err := busy.answer("GET")
	if err != nil || body != "done" || !resp.Close {
		t.Errorf("%+v %q %v", resp, body, err)
	}
	must(t, <-stopped)
	late := s.dial()
	late.wantEnd()
}

// An answer after which a stopping server closes the connection is not lost to
// a reset because the client has sent more meanwhile.
func TestTheLastAnswerIsNotFollowedByAReset(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flushed" { // its head is out before the server stops
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-goOn
		io.WriteString(w, "done")
	})
	var peers []*peer
	for _, path := range []string{"/", "/flushed"} {
		p := s.dial()
		p.send("PUT " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		<-begun
		p.send(get + get)
		peers = append(peers, p)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ended)
	close(goOn)
	for _, p := range peers {
		if _, body, err := p.answer("PUT"); err != nil || body != "done" {
			t.Errorf("%q %v", body, err)
		}
		p.wantEnd()
		if n, err := io.Copy(io.Discard, p.NetConn()); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestCloseCutsWhatIsUnderWay(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	p := s.dial()
	p.send(get)
	resp, err := http.ReadResponse(p.in, nil)
	must(t, err)
	must(t, s.Close())
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the answer looks whole")
	}
	must(t, s.Shutdown(context.Background()))
}

func TestWatchPeerNoticesAClientThatLeaves(t *testing.T) {
	left := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.(interface{ WatchPeer() }).WatchPeer()
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
			close(left)
		}
	})
	p := s.dial()
	for range 20 { // watching does not take the connection along, nor the next request
		p.ask(get)
	}
	p.send(get + get + get)
	for range 3 {
		p.answer("GET")
	}
	p.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
	time.Sleep(20 * time.Millisecond)
	p.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("not noticed")
	}
}
