package fsys

import (
	"fmt"
	"testing"
)

// BenchmarkListUnits lists a directory of 2,000 erasure units: each entry is
// opened with the key of its own unit.
func BenchmarkListUnits(b *testing.B) {
	e := newEnv(b, patients)
	const units = 2000
	for i := range units {
		e.check1(e.Mkdir(ctx, fmt.Sprintf("patients/%d", i), MkdirOptions{Parents: true}))
	}
	for b.Loop() {
		_, _, err := e.List(ctx, "patients", ListOptions{Limit: 100})
		e.check(err)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/units, "µs/unit")
}

// BenchmarkPutInUnit stores 4 KiB over a file in an erasure unit.
func BenchmarkPutInUnit(b *testing.B) {
	for _, dir := range []string{"patients/1", "staff/1"} {
		b.Run(dir, func(b *testing.B) {
			e := newEnv(b, patients)
			body := data(1, 4<<10)
			for b.Loop() {
				e.put(dir+"/f", body)
			}
		})
	}
}

// BenchmarkReadInUnit reads a file of 4 KiB in an erasure unit.
func BenchmarkReadInUnit(b *testing.B) {
	for _, dir := range []string{"patients/1", "staff/1"} {
		b.Run(dir, func(b *testing.B) {
			e := newEnv(b, patients)
			body := data(1, 4<<10)
			e.put(dir+"/f", body)
			for b.Loop() {
				e.holds(dir+"/f", body)
			}
		})
	}
}
