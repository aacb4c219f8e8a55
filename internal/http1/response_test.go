package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

// pattern is a body in which no two places look alike.
func pattern(n int) []byte {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = strconv.AppendInt(append(b, '/'), int64(i), 10)
	}
	return b[:n]
}

func TestBodiesArriveAsWritten(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 16000, 16384, 16385, 40_000, 300_000, 2_000_000} {
		for _, piece := range []int{1 + size/3, 1 + size/1999, 1000, 16384, 1 << 20} {
			for _, declared := range []bool{true, false} {
				for _, version := range []string{"1.0", "1.1"} {
					body := pattern(size)
					p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
						if declared {
							w.Header().Set("Content-Length", strconv.Itoa(size))
						}
						for b := body; len(b) > 0; {
							n := min(piece, len(b))
							m, err := w.Write(b[:n])
							if m != n || err != nil {
								t.Errorf("Write: %d, %v", m, err)
							}
							b = b[n:]
						}
					}).dial()
					p.send("GET / HTTP/" + version + "\r\nHost: h\r\n\r\n")
					resp, got, err := p.answer("GET")
					if err != nil || got != string(body) {
						t.Errorf("%d bytes in pieces of %d, declared %t, HTTP/%s: %d bytes, %v", size, piece, declared, version, len(got), err)
					}
					if want := int64(size); (declared || size == 0) && resp.ContentLength != want {
						t.Errorf("Content-Length %d, want %d", resp.ContentLength, want)
					}
					if resp.Close != (version == "1.0") {
						t.Errorf("HTTP/%s: close %t", version, resp.Close)
					}
				}
			}
		}
	}
}

func TestASmallAnswerLeavesInOneWrite(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4096")
		w.WriteHeader(http.StatusOK)
		w.Write(make([]byte, 4095))
		w.Write(make([]byte, 1))
	})
	p := s.dial()
	p.ask(get)
	before := s.writes.Load()
	for range 10 {
		p.ask(get)
	}
	if n := s.writes.Load() - before; n != 10 {
		t.Errorf("10 answers took %d writes", n)
	}
}

func TestALargeAnswerTakesFewWrites(t *testing.T) {
	body := pattern(4 << 20)
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		for b := body; len(b) > 0; b = b[512<<10:] {
			w.Write(b[:512<<10])
		}
	})
	p := s.dial()
	p.ask(get)
	before := s.writes.Load()
	if _, got := p.ask(get); got != string(body) {
		t.Error("the body is another")
	}
	// 4 MiB are 256 records; between two pieces of a body nothing is held back.
	if n := s.writes.Load() - before; n > 48 {
		t.Errorf("%d writes", n)
	}
}

func TestAHeadMayBeLargerThanTheBuffer(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", long)
		w.Write([]byte("hello"))
		w.Write(pattern(50_000))
	}).dial()
	for range 2 {
		if resp, body := p.ask(get); resp.Header.Get("X") != long || body != "hello"+string(pattern(50_000)) {
			t.Errorf("%d bytes of header, %d of body", len(resp.Header.Get("X")), len(body))
		}
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	for method, statuses := range map[string][]int{"GET": {204, 304}, "HEAD": {200, 404}} {
		for _, status := range statuses {
			var wrote error
			p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				w.WriteHeader(status)
				_, wrote = w.Write([]byte("hello"))
			}).dial()
			for range 2 { // the second shows that nothing was left over
				resp, body := p.ask(method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
				if resp.StatusCode != status || body != "" || status == 204 && resp.Header.Get("Content-Length") != "" || method == "HEAD" && resp.ContentLength != 5 {
					t.Errorf("%s %d: %v %q", method, status, resp, body)
				}
			}
			if (method == "HEAD") != (wrote == nil) {
				t.Errorf("%s %d: Write: %v", method, status, wrote)
			}
		}
	}
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }).dial()
	if resp, _ := p.ask(get); resp.StatusCode != 201 || resp.ContentLength != 0 || resp.Header.Get("Date") == "" {
		t.Errorf("%+v", resp)
	}
}

func TestHeadersCannotBeginNewLines(t *testing.T) {
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X"] = []string{"a\r\nEvil: 1\r\n\r\nbody", "b"}
		w.Header()["Bad Name\r\nEvil"] = []string{"2"}
		w.Header()["Transfer-Encoding"] = []string{"chunked"}
	}).dial()
	resp, body := p.ask(get)
	if resp.Header.Get("Evil") != "" || body != "" || fmt.Sprint(resp.Header["X"]) != "[a  Evil: 1    body b]" {
		t.Errorf("%v %q", resp.Header, body)
	}
}

// An answer that is not whole never looks whole.
func TestUnfinishedAnswersBreakOff(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"too little": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("12345"))
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(200)
		},
		"aborted": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("12345"))
			panic(http.ErrAbortHandler)
		},
		"aborted, chunked": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("12345")); panic(http.ErrAbortHandler) },
		"aborted, far on": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, 1<<20))
			panic(http.ErrAbortHandler)
		},
		"panic": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("12345")); panic("fault") },
		"panic with flush": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("1"))
			w.(http.Flusher).Flush()
			panic("fault")
		},
	} {
		for _, version := range []string{"1.0", "1.1"} {
			p := newServer(t, h).dial()
			p.send("GET / HTTP/" + version + "\r\nHost: h\r\n\r\n")
			if _, body, err := p.answer("GET"); err == nil {
				t.Errorf("%s, HTTP/%s: %d bytes and no error", name, version, len(body))
			}
		}
	}
}

func TestMoreThanDeclaredIsNotSent(t *testing.T) {
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Write([]byte("hello"))
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrContentLength) {
			t.Error(err)
		}
	}).dial()
	for range 2 {
		if _, body := p.ask(get); body != "hello" {
			t.Error(body)
		}
	}
}

func TestFlushSendsWhatThereIs(t *testing.T) {
	goOn := make(chan struct{})
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first ")
		must(t, http.NewResponseController(w).Flush())
		<-goOn
		io.WriteString(w, "second")
	}).dial()
	p.send(get)
	resp, err := http.ReadResponse(p.in, nil)
	must(t, err)
	first := make([]byte, 6)
	_, err = io.ReadFull(resp.Body, first)
	must(t, err)
	close(goOn)
	rest, err := io.ReadAll(resp.Body)
	if string(first)+string(rest) != "first second" || err != nil {
		t.Errorf("%s%s, %v", first, rest, err)
	}
}

func TestContinueIsSentWhenTheBodyIsRead(t *testing.T) {
	const put = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
	p := newServer(t, echo).dial()
	p.send(put)
	line, err := p.in.ReadString('\n')
	must(t, err)
	if line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatal(line)
	}
	p.in.ReadString('\n')
	if _, body := p.ask("hello"); !strings.Contains(body, `body="hello"`) {
		t.Error(body)
	}
	p.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the connection goes on

	p = newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }).dial()
	if resp, _ := p.ask(put); resp.StatusCode != 403 || !resp.Close {
		t.Errorf("%+v", resp)
	}
	p.wantEnd() // whether the body comes is unknown
}

func TestABodyThatNobodyReads(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }
	p := newServer(t, refuse).dial()
	for range 2 { // a short one is read away
		if resp, _ := p.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000)); resp.StatusCode != 403 || resp.Close {
			t.Fatalf("%+v", resp)
		}
	}
	p.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n")
	sent := make(chan error)
	go func() { _, err := p.Write(make([]byte, 1_000_000)); sent <- err }()
	resp, _, err := p.answer("PUT")
	if err != nil || resp.StatusCode != 403 || !resp.Close {
		t.Errorf("%+v, %v", resp, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("the connection was reset under the body: %v", err)
	}
}

func TestRequestsInAdvanceAreAnsweredInOrder(t *testing.T) {
	var text bytes.Buffer
	const n = 300
	for i := range n {
		fmt.Fprintf(&text, "PUT /%d HTTP/1.1\r\nHost: h\r\nX: %d\r\nContent-Length: %d\r\n\r\n%s", i, i, i, pattern(i))
	}
	p := newServer(t, echo).dial()
	go p.Write(text.Bytes())
	for i := range n {
		_, body, err := p.answer("PUT")
		if want := fmt.Sprintf(`PUT /%d HTTP/1.1 host=h x=["%d"] body=%q`, i, i, pattern(i)); err != nil || body != want {
			t.Fatalf("%v, %s\nwant %s", err, body, want)
		}
	}
}

// What is used again must not show anything of the request before.
func TestNothingOfARequestIsLeftToTheNext(t *testing.T) {
	var kept io.Reader
	p := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if kept == nil {
			kept = r.Body
			w.Header().Set("Secret", "1")
			w.WriteHeader(500)
			return
		}
		if n, err := kept.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("a kept body read %d bytes, %v", n, err)
		}
		echo(w, r)
	}).dial()
	p.ask("PUT /?q=1 HTTP/1.1\r\nHost: h\r\nX: secret\r\nContent-Length: 3\r\n\r\nabc")
	resp, body := p.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ndef")
	if resp.StatusCode != 200 || resp.Header.Get("Secret") != "" || body != `PUT / HTTP/1.1 host=h x=[] body="def"` {
		t.Errorf("%v %s", resp, body)
	}
}

func TestConnectionCloseIsHonoured(t *testing.T) {
	for _, c := range []string{"close", "Close", "x, close", "keep-alive,close"} {
		p := newServer(t, echo).dial()
		if resp, _ := p.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: " + c + "\r\n\r\n"); !resp.Close {
			t.Error(c)
		}
		p.wantEnd()
	}
	p := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }).dial()
	p.ask(get)
	p.wantEnd()
}

func TestDateIsThePresentSecond(t *testing.T) {
	for _, at := range []time.Time{time.Unix(1, 0), time.Unix(1, 5), time.Unix(2, 0), time.Unix(1, 0)} {
		if got := date(at); got != at.UTC().Format(http.TimeFormat) {
			t.Errorf("%v: %s", at, got)
		}
	}
}
