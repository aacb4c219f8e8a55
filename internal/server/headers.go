package server

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const metaPrefix = "Efs-Meta-" // as net/http spells it

// contentType returns the type to keep with a file: what the client said, up
// to 255 bytes of printable ASCII; "" where it said nothing.
func contentType(h http.Header) (string, error) {
	v := h.Get("Content-Type")
	if len(h["Content-Type"]) > 1 || !validType(v) {
		return "", badHeader.with("Content-Type must be given once, as printable ASCII of at most 255 bytes.")
	}
	return v, nil
}

func validType(v string) bool { return len(v) <= 255 && printable(v) }

func printable(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < 0x20 || v[i] > 0x7e {
			return false
		}
	}
	return true
}

// metadata collects the EFS-Meta-* headers under their names in lower case;
// nil where there are none.
func (l *Limits) metadata(h http.Header) (map[string]string, error) {
	var meta map[string]string
	for name, values := range h {
		if !strings.HasPrefix(name, metaPrefix) {
			continue
		}
		if len(values) != 1 {
			return nil, badHeader.with("Each EFS-Meta-* header must be given once. Join the values into one.")
		}
		if meta == nil {
			meta = make(map[string]string)
		}
		meta[strings.ToLower(name[len(metaPrefix):])] = values[0]
	}
	return meta, l.checkMeta(meta)
}

// checkMeta applies the limits to metadata, wherever it comes from.
func (l *Limits) checkMeta(meta map[string]string) error {
	size := 0
	for k, v := range meta {
		if !validMetaName(k) || !validMetaValue(v) {
			return badHeader.with("Metadata names are letters, digits, '-', '_' and '.', at most 64 bytes; values are UTF-8 without control characters.")
		}
		size += len(k) + len(v)
	}
	if len(meta) > l.MetaCount || size > l.MetaBytes {
		return headerTooLarge.with("Keep fewer or shorter metadata with a file: 64 names and 8 KiB in all, unless the operator says otherwise.")
	}
	return nil
}

func validMetaName(k string) bool {
	for i := 0; i < len(k); i++ {
		c := k[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return k != "" && len(k) <= 64
}

func validMetaValue(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < 0x20 || v[i] == 0x7f {
			return false
		}
	}
	// A header loses white space at its ends; what cannot come back is refused.
	return utf8.ValidString(v) && strings.TrimSpace(v) == v
}

func setMeta(h http.Header, meta map[string]string) {
	for k, v := range meta {
		h[http.CanonicalHeaderKey("EFS-Meta-"+k)] = []string{v}
	}
}

func deleteMeta(h http.Header) {
	for k := range h {
		if strings.HasPrefix(k, metaPrefix) {
			delete(h, k)
		}
	}
}

// modifiedHeader reads EFS-Modified, the time that a file had where it comes
// from; the zero time where it is not sent.
func modifiedHeader(h http.Header) (t time.Time, err error) {
	v := h["Efs-Modified"]
	if len(v) == 0 {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339Nano, v[0]); err != nil || len(v) > 1 || !validTime(t) {
		return t, badHeader.with("EFS-Modified must be a time such as 2026-01-31T12:00:00.123456Z.")
	}
	return t, nil
}

// bodyDigest returns the SHA-256 that the client says its body has, from
// Repr-Digest or Content-Digest (RFC 9530), which are the same thing for a
// body sent whole; nil where it says none. A digest in an algorithm that is
// not checked is refused, since its sender relies on the check.
func bodyDigest(h http.Header) ([]byte, error) {
	var sum []byte
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		v := strings.Join(h[name], ",")
		if v == "" {
			continue
		}
		d, ok := parseDigest(v)
		if !ok {
			return nil, badHeader.with(name + " must have the form sha-256=:BASE64: (RFC 9530). Other algorithms are not checked here.")
		}
		if sum != nil && string(sum) != string(d) {
			return nil, badHeader.with("Repr-Digest and Content-Digest contradict each other.")
		}
		sum = d
	}
	return sum, nil
}

// parseDigest reads the sha-256 member of a structured dictionary of byte
// sequences (RFC 8941, 3.2 and 3.3.5).
func parseDigest(v string) (sum []byte, ok bool) {
	for _, member := range strings.Split(v, ",") {
		name, value, found := strings.Cut(strings.Trim(member, " \t"), "=")
		if !found {
			return nil, false
		}
		value, params, _ := strings.Cut(value, ";")
		if params != "" || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			return nil, false
		}
		d, err := base64.StdEncoding.Strict().DecodeString(value[1 : len(value)-1])
		if err != nil {
			return nil, false
		}
		if name != "sha-256" {
			continue // further members may be there for others to check
		}
		if sum != nil || len(d) != sha256.Size {
			return nil, false
		}
		sum = d
	}
	return sum, sum != nil
}

// formatDigest writes a Repr-Digest.
func formatDigest(sum []byte) string {
	var buf [64]byte
	return string(append(base64.StdEncoding.AppendEncode(append(buf[:0], "sha-256=:"...), sum), ':'))
}
