package server

import (
	"net/url"
	"strconv"
)

// query reads the parameters of a request strictly: one that nobody asked for
// is refused, since a misspelled or foreign one (say, a version to delete)
// would otherwise be ignored, and more done than was meant.
type query struct {
	values url.Values
	err    error
}

func (x *exchange) query() *query {
	if x.r.URL.RawQuery == "" {
		return &query{}
	}
	v, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return &query{err: badParameter.with("The query is not well-formed. Percent-encode the values.")}
	}
	return &query{values: v}
}

func (q *query) take(name string) (string, bool) {
	v, ok := q.values[name]
	if !ok {
		return "", false
	}
	delete(q.values, name)
	if len(v) != 1 && q.err == nil {
		q.err = badParameter.with("The parameter " + name + " must be given once.")
	}
	return v[0], true
}

// flag reads a parameter that is true, false or absent.
func (q *query) flag(name string) bool {
	v, ok := q.take(name)
	if ok && v != "true" && v != "false" && q.err == nil {
		q.err = badParameter.with("The parameter " + name + " must be true or false.")
	}
	return v == "true"
}

// number reads a parameter that is a number from low to high.
func (q *query) number(name string, otherwise, low, high uint64) uint64 {
	v, ok := q.take(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if (err != nil || n < low || n > high) && q.err == nil {
		q.err = badParameter.with("The parameter " + name + " must be a number from " +
			strconv.FormatUint(low, 10) + " to " + strconv.FormatUint(high, 10) + ".")
	}
	return n
}

// done reports the first parameter that was wrong, or that nobody took.
func (q *query) done() error {
	if q.err == nil && len(q.values) > 0 {
		q.err = badParameter.with("The query has a parameter that this request does not know. Remove or correct it.")
	}
	return q.err
}
