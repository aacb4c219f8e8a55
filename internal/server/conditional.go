package server

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// etags reads a list of entity tags (RFC 9110, 8.8.3) or "*". weakOK keeps
// the opaque part of weak tags, for comparisons that are weak; a strong
// comparison never matches a weak tag, so that such are left out. A list that
// names no usable tag is given back as one that matches nothing.
func etags(h http.Header, name string, weakOK bool) ([]string, error) {
	values := h[name]
	if len(values) == 0 {
		return nil, nil
	}
	rest := strings.TrimSpace(strings.Join(values, ","))
	if rest == "*" {
		return []string{"*"}, nil
	}
	tags := []string{}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		weak := strings.HasPrefix(rest, "W/")
		if weak {
			rest = rest[2:]
		}
		tag, after, ok := cutTag(rest)
		if !ok || len(tags) >= 64 {
			return nil, badHeader.with(name + ` must be * or a list of at most 64 entity tags in double quotes, as the ETag header gives them.`)
		}
		if rest = after; !weak || weakOK {
			tags = append(tags, tag)
		}
	}
	if len(tags) == 0 {
		tags = append(tags, "") // no entry has the empty tag
	}
	return tags, nil
}

// cutTag cuts a quoted tag off the front of s. Only white space and a comma
// may follow it.
func cutTag(s string) (tag, rest string, ok bool) {
	if len(s) < 2 || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	tag, rest = s[1:1+end], strings.TrimLeft(s[2+end:], " \t")
	for i := 0; i < len(tag); i++ {
		if tag[i] <= 0x20 || tag[i] == 0x7f {
			return "", "", false
		}
	}
	return tag, rest, rest == "" || rest[0] == ','
}

// matches reports whether an entry with this tag is among tags.
func matches(tags []string, etag string) bool {
	return len(tags) == 1 && tags[0] == "*" || slices.Contains(tags, etag)
}

// verdict is what the preconditions of a read come to.
type verdict int

const (
	goOn verdict = iota
	notModified
	failed
)

// judgeRead applies the preconditions of GET and HEAD in the order of RFC
// 9110, 13.2.2.
func judgeRead(h http.Header, etag string, modified time.Time) (verdict, error) {
	ifMatch, err := etags(h, "If-Match", false)
	if err != nil {
		return failed, err
	}
	ifNoneMatch, err := etags(h, "If-None-Match", true)
	if err != nil {
		return failed, err
	}
	modified = modified.Truncate(time.Second) // as Last-Modified tells it
	if ifMatch != nil {
		if !matches(ifMatch, etag) {
			return failed, nil
		}
	} else if t, ok := httpDate(h, "If-Unmodified-Since"); ok && modified.After(t) {
		return failed, nil
	}
	if ifNoneMatch != nil {
		if matches(ifNoneMatch, etag) {
			return notModified, nil
		}
	} else if t, ok := httpDate(h, "If-Modified-Since"); ok && !modified.After(t) {
		return notModified, nil
	}
	return goOn, nil
}

// httpDate reads a date header; one that is malformed counts as absent, as
// RFC 9110 has it.
func httpDate(h http.Header, name string) (time.Time, bool) {
	v := h[name]
	if len(v) != 1 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(v[0])
	return t, err == nil
}

// rangeStillValid judges If-Range: the range is served only if the file is
// still the one the client has a part of; else it gets the whole.
func rangeStillValid(h http.Header, etag string, modified time.Time) bool {
	v := h.Get("If-Range")
	if v == "" {
		return true
	}
	if tag, rest, ok := cutTag(v); ok && rest == "" {
		return tag == etag
	}
	t, err := http.ParseTime(v)
	return err == nil && modified.Truncate(time.Second).Equal(t)
}
