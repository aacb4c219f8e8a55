package main

import (
	"log"
	"time"
)

// progress tells every ten seconds how far something is and how long the rest
// will take, until stop is called.
func progress(what string, total int, done func() int) (stop func()) {
	end := make(chan struct{})
	begun := time.Now()
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		last, at := 0, begun
		for {
			select {
			case <-tick.C:
			case <-end:
				return
			}
			n, now := done(), time.Now()
			rate := float64(n-last) / now.Sub(at).Seconds()
			left := "?"
			if n > 0 {
				left = (now.Sub(begun) * time.Duration(total-n) / time.Duration(n)).Round(time.Second).String()
			}
			log.Printf("  %s: %d of %d, %.0f/s, %s left", what, n, total, rate, left)
			last, at = n, now
		}
	}()
	return func() { close(end) }
}
