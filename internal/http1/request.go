package http1

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

func bad(text string) error { return &refusal{http.StatusBadRequest, text} }

var (
	errVersion  = &refusal{http.StatusHTTPVersionNotSupported, "HTTP/1.1 and HTTP/2 are spoken here"}
	errCoding   = &refusal{http.StatusNotImplemented, "no transfer coding but chunked is understood"}
	errExpected = &refusal{http.StatusExpectationFailed, "no expectation but 100-continue is understood"}
)

// parse makes the request of a head, and its body.
func (k *conn) parse(head string) error {
	r := &k.req
	header := r.Header
	*r = *k.blank
	r.Header, r.RemoteAddr, r.TLS = header, k.remote, &k.info
	line, rest, _ := strings.Cut(head, "\r\n")
	if err := parseLine(r, line); err != nil {
		return err
	}
	if err := k.parseFields(rest); err != nil {
		return err
	}
	if err := k.parseTarget(); err != nil {
		return err
	}
	if err := takeHost(r); err != nil {
		return err
	}
	return k.frame()
}

// parseLine reads the request line (RFC 9112, 3).
func parseLine(r *http.Request, line string) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !isToken(method) || target == "" {
		return bad("malformed request line")
	}
	switch version {
	case "HTTP/1.1":
		r.ProtoMinor = 1
	case "HTTP/1.0":
	default:
		if len(version) == len("HTTP/x.y") && strings.HasPrefix(version, "HTTP/") && version[6] == '.' && isDigit(version[5]) && isDigit(version[7]) {
			return errVersion
		}
		return bad("malformed request line")
	}
	r.Method, r.RequestURI, r.Proto, r.ProtoMajor = method, target, version, 1
	return nil
}

// parseFields reads the header fields (RFC 9112, 5).
func (k *conn) parseFields(fields string) error {
	h := k.req.Header
	for n := 0; fields != ""; n++ {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, err := parseField(line)
		if err != nil {
			return err
		}
		if !isCanonical(name) {
			name = textproto.CanonicalMIMEHeaderKey(name)
		}
		switch old, given := h[name]; {
		case given:
			h[name] = append(old, value)
		case n < len(k.values):
			k.values[n] = value
			h[name] = k.values[n : n+1 : n+1]
		default:
			h[name] = []string{value}
		}
	}
	return nil
}

// parseField reads one of them. A folded one has no name.
func parseField(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return "", "", bad("malformed header")
	}
	if value = strings.Trim(value, " \t"); !isFieldValue(value) {
		return "", "", bad("malformed header value")
	}
	return name, value, nil
}

// parseTarget reads the request target (RFC 9112, 3.2). The usual one, a path
// of characters that mean themselves, needs no parser.
func (k *conn) parseTarget() error {
	r := &k.req
	t := r.RequestURI
	if isPlainPath(t) {
		k.url = url.URL{Path: t}
		r.URL = &k.url
		return nil
	}
	authority := r.Method == http.MethodConnect && t[0] != '/'
	if authority {
		t = "http://" + t
	}
	u, err := url.ParseRequestURI(t)
	if err != nil {
		return bad("malformed request target")
	}
	if authority {
		u.Scheme = ""
	}
	r.URL = u
	return nil
}

// takeHost sets Host (RFC 9112, 3.2 and 7230, 5.4).
func takeHost(r *http.Request) error {
	hosts := r.Header["Host"]
	if len(hosts) > 1 || len(hosts) == 0 && r.ProtoMinor == 1 {
		return bad("one Host header is needed")
	}
	if len(hosts) == 1 {
		if !isHost(hosts[0]) {
			return bad("malformed Host header")
		}
		r.Host = hosts[0]
		delete(r.Header, "Host")
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host
	}
	return nil
}

// frame finds out how long the body is (RFC 9112, 6).
func (k *conn) frame() error {
	r := &k.req
	coding, length, expect := r.Header["Transfer-Encoding"], r.Header["Content-Length"], r.Header["Expect"]
	var b body
	switch {
	case len(coding) > 0 && len(length) > 0:
		return bad("Content-Length beside Transfer-Encoding")
	case len(coding) > 0:
		if r.ProtoMinor == 0 {
			return bad("HTTP/1.0 has no transfer codings")
		}
		if len(coding) > 1 || !strings.EqualFold(coding[0], "chunked") {
			return errCoding
		}
		delete(r.Header, "Transfer-Encoding")
		r.TransferEncoding = []string{"chunked"}
		r.ContentLength, b.chunked = -1, true
	case len(length) > 0:
		n, ok := parseLength(length[0])
		if !ok || len(length) > 1 {
			return bad("malformed Content-Length")
		}
		r.ContentLength, b.left = n, n
	}
	if len(expect) > 0 {
		if len(expect) > 1 || !strings.EqualFold(expect[0], "100-continue") {
			return errExpected
		}
		b.expect = r.ProtoMinor == 1
	}
	r.Body = http.NoBody
	if b.chunked || b.left > 0 {
		k.body = &body{k: k, chunked: b.chunked, left: b.left, expect: b.expect}
		r.Body = k.body
	}
	r.Close = r.ProtoMinor == 0 || hasToken(r.Header["Connection"], "close")
	return nil
}

// parseLength reads a number of bytes, below 2^62.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) || n >= 1<<62/10 {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// hasToken looks for a token in a list (RFC 9110, 5.6.1).
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for v != "" {
			var item string
			item, v, _ = strings.Cut(v, ",")
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// The classes of characters of RFC 9110, 5.6.2 and 5.5, and RFC 3986, 2.3 and
// 3.2.2.
const (
	inToken = 1 << iota
	inPath  // unreserved, and the slash
	inHost
	upper
	lower
)

var class = func() (t [256]uint8) {
	set := func(chars string, bits uint8) {
		for i := 0; i < len(chars); i++ {
			t[chars[i]] |= bits
		}
	}
	set("ABCDEFGHIJKLMNOPQRSTUVWXYZ", inToken|inPath|inHost|upper)
	set("abcdefghijklmnopqrstuvwxyz", inToken|inPath|inHost|lower)
	set("0123456789", inToken|inPath|inHost)
	set("!#$%&'*+-.^_`|~", inToken)
	set("-._~/", inPath)
	set("-._~!$&'()*+,;=:[]%", inHost)
	return t
}()

func isToken(s string) bool { return s != "" && all(s, inToken) }

func isPlainPath(s string) bool { return s[0] == '/' && all(s, inPath) }

func isHost(s string) bool { return all(s, inHost) }

func all(s string, bit uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&bit == 0 {
			return false
		}
	}
	return true
}

// isFieldValue takes visible characters, spaces, tabs and bytes above ASCII.
func isFieldValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isCanonical reports whether a name is spelled as net/http keeps it.
func isCanonical(s string) bool {
	unwanted := uint8(lower) // at the start of a word
	for i := 0; i < len(s); i++ {
		if class[s[i]]&unwanted != 0 {
			return false
		}
		unwanted = upper
		if s[i] == '-' {
			unwanted = lower
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
