package server

import (
	"strconv"
	"strings"
)

// span is a run of a file's bytes.
type span struct{ off, n int64 }

func (s span) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(s.off, 10) + "-" + strconv.FormatInt(s.off+s.n-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// maxRanges bounds the ranges of one request. Many small ranges make a server
// work more than they could be worth (RFC 9110, 17.15).
const maxRanges = 16

// parseRange reads a Range header (RFC 9110, 14.2) against a file of size
// bytes. whole means that the header is to be ignored: another unit, a
// malformed one, too many ranges, or ranges that together are more than the
// file. Ranges that lie beyond the end are left out; without any left the
// result is empty and not whole, which is 416.
func parseRange(v string, size int64) (spans []span, whole bool) {
	set, ok := strings.CutPrefix(v, "bytes=")
	if !ok {
		return nil, true
	}
	count, total := 0, int64(0)
	for _, spec := range strings.Split(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		s, ok := parseSpan(spec, size)
		if count++; !ok || count > maxRanges {
			return nil, true
		}
		if s.n > 0 {
			spans, total = append(spans, s), total+s.n
		}
	}
	if count == 0 || len(spans) > 1 && total > size {
		return nil, true
	}
	return spans, false
}

// parseSpan reads FIRST-LAST, FIRST- or -SUFFIX. A span without bytes in the
// file has n == 0.
func parseSpan(spec string, size int64) (s span, ok bool) {
	first, last, found := strings.Cut(spec, "-")
	if !found {
		return span{}, false
	}
	if first == "" {
		n, ok := digits(last)
		n = min(n, size)
		return span{size - n, n}, ok
	}
	off, ok := digits(first)
	if !ok {
		return span{}, false
	}
	end := size - 1
	if last != "" {
		e, ok := digits(last)
		if !ok || e < off {
			return span{}, false
		}
		end = min(end, e)
	}
	if off >= size {
		return span{}, true
	}
	return span{off, end - off + 1}, true
}

// digits reads a number without sign. One too large for int64 is as good as
// the largest.
func digits(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
