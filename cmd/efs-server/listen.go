package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/server"
	"github.com/efs-project/efs/internal/session"
)

// listen takes the addresses before anything else is opened, so that one in
// use is noticed while nothing has happened.
func listen(cfg *config.Config) (all []server.Listener, certs []*certFile, err error) {
	for _, c := range cfg.Listeners() {
		l, own, err := listener(cfg, &c)
		if err != nil {
			closeAll(all)
			return nil, nil, err
		}
		all = append(all, l)
		if own != nil {
			certs = append(certs, own)
		}
	}
	return all, certs, nil
}

func listener(cfg *config.Config, c *config.Listener) (l server.Listener, own *certFile, err error) {
	l = server.Listener{Factors: factors(c.Factors), Plain: c.Plain}
	if c.Plain && c.OpsOnly() {
		l.Ops, l.Plain = true, false
	}
	if l.Routes, err = server.ParseRoutes(c.Routes); err != nil {
		return l, nil, usageError{err}
	}
	proxies, err := c.Proxies()
	if err != nil {
		return l, nil, usageError{err}
	}
	if c.ProxyProtocol {
		l.ProxyProtocol = proxies
	} else {
		l.ClientCert = proxies
	}
	l.AskCert = map[string]server.AskCert{"require": server.CertRequired, "none": server.CertNone}[c.ClientCert]
	if c.TLSCert != "" {
		own = &certFile{cert: c.TLSCert, key: c.TLSKey}
		if err := own.read(); err != nil {
			return l, nil, usageError{err}
		}
		l.Certificate = own.get
	}
	l.Listener, err = listenOn(c, len(cfg.Listener) > 0)
	return l, own, err
}

// listenOn takes one address. Errors tell where to choose another.
func listenOn(c *config.Listener, listed bool) (net.Listener, error) {
	if path := c.UnixPath(); path != "" {
		return listenUnix(path)
	}
	l, err := net.Listen("tcp", c.Address)
	if err == nil {
		return l, nil
	}
	where := "--listen"
	switch {
	case listed:
		where = "address in its [[listener]]"
	case c.OpsOnly():
		where = "--ops-listen"
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("listening on %s: %w: ports below 1024 need the capability NET_BIND_SERVICE (docker run --cap-add NET_BIND_SERVICE), or choose another with %s", c.Address, err, where)
	}
	return nil, fmt.Errorf("listening on %s: %w: choose another address with %s", c.Address, err, where)
}

// listenUnix takes the place of a socket that a killed server left, and of
// nothing else.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listening on %s: removing the socket of a server that is gone: %w", path, err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close() // nothing was accepted
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return l, nil
}

// abandoned reports whether path is a socket that nobody listens on.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close() // somebody does
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func factors(names []string) session.Factors {
	var f session.Factors
	for _, name := range names {
		switch name {
		case "certificate":
			f.Certificate = true
		case "basic":
			f.Basic = true
		case "token":
			f.Token = true
		}
	}
	return f
}
