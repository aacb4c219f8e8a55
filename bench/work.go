package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A Work is one kind of load on all targets.
type Work struct {
	Name    string
	Method  string
	Size    int64 // bytes of an object
	Range   int64 // bytes that a read asks for at a random place; 0: the whole object
	Clients int
	Keys    int // objects that reads choose from; they are stored first
	Rounds  int // at least as many, in a full run
	Disk    bool
	Only    []string // targets; nil: all
}

var works = []Work{
	{Name: "store-4k", Method: http.MethodPut, Size: 4 << 10, Clients: 16},
	{Name: "read-4k", Method: http.MethodGet, Size: 4 << 10, Clients: 16, Keys: 5000},
	{Name: "store-1m", Method: http.MethodPut, Size: 1 << 20, Clients: 16},
	{Name: "read-1m", Method: http.MethodGet, Size: 1 << 20, Clients: 16, Keys: 200},
	{Name: "store-64m", Method: http.MethodPut, Size: 64 << 20, Clients: 4, Rounds: 7, Disk: true},
	{Name: "read-64m", Method: http.MethodGet, Size: 64 << 20, Clients: 4, Keys: 8, Rounds: 7},
	{Name: "range-1g", Method: http.MethodGet, Size: 1 << 30, Range: 64 << 10, Clients: 16, Keys: 1},
	{Name: "range-16m", Method: http.MethodGet, Size: 16 << 20, Range: 64 << 10, Clients: 16, Keys: 1, Only: []string{"efs"}},
}

// on tells whether w is done by a target.
func (w Work) on(t Target) bool { return w.Only == nil || slices.Contains(w.Only, t.Name()) }

// large tells whether what a round stored is removed after it: the disk is
// not endless, and what nginx has not written yet would burden the next.
func (w Work) large() bool { return w.Method == http.MethodPut && w.Size >= 1<<20 }

// key names object n.
func (w Work) key(n int64) string {
	b := make([]byte, 0, len(w.Name)+16)
	b = append(append(b, w.Name...), '/')
	if n%100 < 10 {
		b = append(b, '0')
	}
	b = append(strconv.AppendInt(b, n%100, 10), '/')
	return string(strconv.AppendInt(b, n, 10))
}

// read chooses what a reading client asks for next.
func (w Work) read() request {
	n := rand.Int64N(int64(w.Keys))
	r := request{method: http.MethodGet, key: w.key(n), object: n, size: w.Size, length: w.Range}
	if w.Range > 0 {
		r.offset = rand.Int64N(w.Size - w.Range + 1)
	}
	return r
}

// store is the request that stores object n.
func (w Work) store(n int64) request {
	return request{method: http.MethodPut, key: w.key(n), object: n, size: w.Size}
}

func (w Work) remove(n int64) request {
	return request{method: http.MethodDelete, key: w.key(n), object: n}
}

// bytes is what one operation moves.
func (w Work) bytes() int64 {
	if w.Range > 0 {
		return w.Range
	}
	return w.Size
}

// sampled picks one in 64.
func sampled() bool { return rand.Uint32()&63 == 0 }

// Result is what one Work did to one target in one round.
type Result struct {
	Ops       int64         `json:"ops"`
	Errors    int64         `json:"errors"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	Max       time.Duration `json:"max_ns"`
	ServerCPU time.Duration `json:"server_cpu_ns"` // computed by the server's processes
	ClientCPU time.Duration `json:"client_cpu_ns"` // by the load generator
	First     string        `json:"first_error,omitempty"`
}

// Rate returns operations a second.
func (r Result) Rate() float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

// CPU returns what the server computed for an operation.
func (r Result) CPU() time.Duration { return r.ServerCPU / time.Duration(max(1, r.Ops)) }

func (r Result) String() string {
	s := fmt.Sprintf("%10.1f/s  p50 %8s  p99 %8s  server CPU %9s  client %9s", r.Rate(), short(r.P50), short(r.P99),
		short(r.CPU()), short(r.ClientCPU/time.Duration(max(1, r.Ops))))
	if r.Errors > 0 {
		s += fmt.Sprintf("  %d ERRORS: %s", r.Errors, r.First)
	}
	return s
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
