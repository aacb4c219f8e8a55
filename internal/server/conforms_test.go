package server

import (
	"net/http"
	"testing"
)

type conforms struct {
	t  testing.TB
	tr *http.Transport
}

func (c conforms) RoundTrip(r *http.Request) (*http.Response, error) { return c.tr.RoundTrip(r) }
