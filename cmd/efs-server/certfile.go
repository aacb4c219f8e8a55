package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certFile is a listener's own certificate, read again when its files change.
type certFile struct {
	cert, key string // PEM files

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time // when the files were looked at
	changed time.Time // when they were changed, as of the last reading
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Minute

// get returns the certificate. Files that cannot be read, or that do not
// belong together as they do not for a moment while they are being replaced,
// leave the one that there was.
func (c *certFile) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > lookEvery {
		c.looked = now
		if at := c.modified(); !at.Equal(c.changed) {
			_ = c.load() // looked at again in a minute
		}
	}
	return c.current, nil
}

// read reads the files now.
func (c *certFile) read() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

func (c *certFile) load() error {
	at := c.modified()
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("reading a listener's TLS certificate: %w", err)
	}
	c.current, c.changed, c.looked = &cert, at, time.Now()
	return nil
}

// modified is when the younger of the files was changed; zero if that cannot
// be told.
func (c *certFile) modified() time.Time {
	var last time.Time
	for _, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}
