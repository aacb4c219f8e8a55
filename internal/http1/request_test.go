package http1

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// echo answers with what the handler sees of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s host=%s x=%q body=%q", r.Method, r.URL, r.Proto, r.Host, r.Header["X"], body)
	if err != nil {
		fmt.Fprintf(w, " err=%v", err)
	}
}

func TestRequestsAreUnderstood(t *testing.T) {
	const host = "Host: h\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"plain":               {"GET /a/b HTTP/1.1\r\n" + host + "\r\n", `GET /a/b HTTP/1.1 host=h x=[] body=""`},
		"query and escapes":   {"GET /a%20b?c=d HTTP/1.1\r\n" + host + "\r\n", `GET /a%20b?c=d HTTP/1.1 host=h x=[] body=""`},
		"absolute form":       {"GET https://other/p HTTP/1.1\r\n" + host + "\r\n", `GET https://other/p HTTP/1.1 host=other x=[] body=""`},
		"asterisk":            {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", `OPTIONS * HTTP/1.1 host=h x=[] body=""`},
		"HTTP/1.0":            {"GET / HTTP/1.0\r\n\r\n", `GET / HTTP/1.0 host= x=[] body=""`},
		"white space":         {"GET / HTTP/1.1\r\n" + host + "X: \t a b\t \r\n\r\n", `GET / HTTP/1.1 host=h x=["a b"] body=""`},
		"no white space":      {"GET / HTTP/1.1\r\nhost:h\r\nx:1\r\n\r\n", `GET / HTTP/1.1 host=h x=["1"] body=""`},
		"a header twice":      {"GET / HTTP/1.1\r\n" + host + "X: 1\r\nX: 2\r\n\r\n", `GET / HTTP/1.1 host=h x=["1" "2"] body=""`},
		"an empty header":     {"GET / HTTP/1.1\r\n" + host + "X:\r\n\r\n", `GET / HTTP/1.1 host=h x=[""] body=""`},
		"bytes above ASCII":   {"GET / HTTP/1.1\r\n" + host + "X: \xc3\xa4\r\n\r\n", `GET / HTTP/1.1 host=h x=["ä"] body=""`},
		"other methods":       {"MKCOL /d/ HTTP/1.1\r\n" + host + "\r\n", `MKCOL /d/ HTTP/1.1 host=h x=[] body=""`},
		"a body":              {"PUT /f HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", `PUT /f HTTP/1.1 host=h x=[] body="hello"`},
		"an empty body":       {"PUT /f HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", `PUT /f HTTP/1.1 host=h x=[] body=""`},
		"chunks":              {"PUT /f HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", `PUT /f HTTP/1.1 host=h x=[] body="hello world"`},
		"chunks and trailers": {"PUT /f HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n00a\r\n0123456789\r\n0\r\nX: y\r\n\r\n", `PUT /f HTTP/1.1 host=h x=[] body="0123456789"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, echo).dial()
			resp, body := p.ask(c.request)
			if resp.StatusCode != 200 || body != c.want {
				t.Errorf("%s %s\nwant %s", resp.Status, body, c.want)
			}
			if name == "HTTP/1.0" {
				p.wantEnd()
				return
			}
			for _, piece := range []int{1, 3} { // the same in small pieces, on the same connection
				for i := 0; i < len(c.request); i += piece {
					p.send(c.request[i:min(i+piece, len(c.request))])
				}
				if _, body, _ := p.answer("GET"); body != c.want {
					t.Errorf("in pieces: %s", body)
				}
			}
		})
	}
}

// What two programs could take for different requests is no request (RFC 9112,
// 11.2).
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	const get, put = "GET / HTTP/1.1\r\nHost: h\r\n", "PUT / HTTP/1.1\r\nHost: h\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no request line":              {"\r\n\r\n", 400},
		"two words":                    {"GET /\r\nHost: h\r\n\r\n", 400},
		"two spaces":                   {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a space at the end":           {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
		"a tab":                        {"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a method that is no token":    {"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a bare LF in the line":        {"GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
		"a bare LF in a header":        {get + "X: a\nY: b\r\n\r\n", 400},
		"a bare CR":                    {get + "X: a\rY: b\r\n\r\n", 400},
		"a NUL":                        {get + "X: a\x00\r\n\r\n", 400},
		"a folded header":              {get + "X: a\r\n b\r\n\r\n", 400},
		"a header with a space before": {get + " X: a\r\n\r\n", 400},
		"a space before the colon":     {get + "X : a\r\n\r\n", 400},
		"a header without a name":      {get + ": a\r\n\r\n", 400},
		"a header without a colon":     {get + "X\r\n\r\n", 400},
		"a relative target":            {"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"a broken escape":              {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"no Host":                      {"GET / HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                    {get + "Host: h\r\n\r\n", 400},
		"a Host that is none":          {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		"HTTP/2.0":                     {"PRI * HTTP/2.0\r\n\r\n", 505},
		"HTTP/1.2":                     {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
		"HTTP/1.":                      {"GET / HTTP/1.\r\nHost: h\r\n\r\n", 400},
		"both lengths":                 {put + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"both lengths, turned":         {put + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
		"two lengths":                  {put + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		"a length twice":               {put + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
		"a list of lengths":            {put + "Content-Length: 3, 3\r\n\r\nabc", 400},
		"a signed length":              {put + "Content-Length: +3\r\n\r\nabc", 400},
		"a negative length":            {put + "Content-Length: -3\r\n\r\nabc", 400},
		"a length in hex":              {put + "Content-Length: 0x3\r\n\r\nabc", 400},
		"an empty length":              {put + "Content-Length:\r\n\r\nabc", 400},
		"a length out of range":        {put + "Content-Length: 9223372036854775808\r\n\r\n", 400},
		"another coding":               {put + "Transfer-Encoding: gzip\r\n\r\n", 501},
		"two codings":                  {put + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		"chunked twice":                {put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501},
		"a hidden coding":              {put + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
		"chunked in HTTP/1.0":          {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"another expectation":          {put + "Expect: a miracle\r\nContent-Length: 1\r\n\r\nx", 417},
		"a large head":                 {get + "X: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", 431},
		"a head without end":           {get + "X: " + strings.Repeat("a", 20<<10), 431},
	} {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("handled: %s %s", r.Method, r.URL) }).dial()
			resp, _ := p.ask(c.request)
			if resp.StatusCode != c.status || !resp.Close {
				t.Errorf("%s, close %t; want %d", resp.Status, resp.Close, c.status)
			}
			p.wantEnd()
		})
	}
}

func TestBrokenChunksEndTheBodyAndTheConnection(t *testing.T) {
	for name, chunks := range map[string]string{
		"no size":                "\r\nhello\r\n0\r\n\r\n",
		"not a size":             "g\r\nhello\r\n0\r\n\r\n",
		"a sign":                 "+5\r\nhello\r\n0\r\n\r\n",
		"0x":                     "0x5\r\nhello\r\n0\r\n\r\n",
		"a space":                "5 \r\nhello\r\n0\r\n\r\n",
		"a size out of range":    "10000000000000000\r\nhello\r\n0\r\n\r\n",
		"a bare LF":              "5\nhello\r\n0\r\n\r\n",
		"a bare LF after data":   "5\r\nhello\n0\r\n\r\n",
		"a bare CR":              "5\rhello\r\n0\r\n\r\n",
		"too much data":          "5\r\nhello!\r\n0\r\n\r\n",
		"a long extension":       "5;" + strings.Repeat("x", 2000) + "\r\nhello\r\n0\r\n\r\n",
		"a trailer that is none": "0\r\nx\r\n\r\n",
		"many trailers":          "0\r\n" + strings.Repeat("x: y\r\n", 100) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newServer(t, echo).dial()
			_, body := p.ask("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
			if !strings.Contains(body, " err=malformed") {
				t.Error(body)
			}
			p.wantEnd()
		})
	}
}

func TestABodyThatStopsShortIsAnError(t *testing.T) {
	for _, half := range []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\na\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		p := newServer(t, echo).dial()
		p.send("PUT / HTTP/1.1\r\nHost: h\r\n" + half)
		must(t, p.CloseWrite())
		if _, body, _ := p.answer("PUT"); !strings.Contains(body, `body="hello" err=unexpected EOF`) {
			t.Errorf("%q: %s", half, body)
		}
	}
}
