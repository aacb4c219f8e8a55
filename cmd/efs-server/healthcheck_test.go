package main

import "testing"

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":443":             "127.0.0.1:443",
		"0.0.0.0:8443":     "127.0.0.1:8443",
		"[::]:443":         "[::1]:443",
		"10.0.0.1:443":     "10.0.0.1:443",
		"efs.internal:443": "efs.internal:443",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
