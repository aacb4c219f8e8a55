package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/connect"
	"github.com/efs-project/efs/internal/remotes"
	"github.com/efs-project/efs/internal/transfer"
)

// app is what the commands share: the settings and the sessions that one run
// needs, one a remote.
type app struct {
	passphraseFile string
	noPrompt       bool // while completing: nobody is to be asked

	mu       sync.Mutex
	sessions map[string]*client.Client
}

func newApp() *app { return &app{sessions: map[string]*client.Client{}} }

// close logs out everywhere.
func (a *app) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.sessions {
		_ = c.Close() // sessions end by themselves
	}
}

// splitRemote takes REMOTE:/PATH or REMOTE:PATH apart. A local path with a
// colon in it is written with a slash before the colon (./a:b).
func splitRemote(arg string) (name, path string, ok bool) {
	name, path, ok = strings.Cut(arg, ":")
	if !ok || !remotes.Name.MatchString(name) {
		return "", "", false
	}
	return name, "/" + strings.TrimPrefix(path, "/"), true
}

// place reads an argument that may be on this machine or in a file system.
func (a *app) place(ctx context.Context, arg string) (transfer.Place, error) {
	name, path, ok := splitRemote(arg)
	if !ok {
		return transfer.Place{Path: arg}, nil
	}
	c, err := a.session(ctx, name)
	return transfer.Place{Client: c, Remote: name, Path: path}, err
}

// remotePlace reads an argument that must be in a file system.
func (a *app) remotePlace(ctx context.Context, arg string) (transfer.Place, error) {
	if _, _, ok := splitRemote(arg); !ok {
		return transfer.Place{}, usageError{fmt.Errorf("%q is no place in a file system: write REMOTE:/PATH (efs remote list shows the names)", arg)}
	}
	return a.place(ctx, arg)
}

// session logs in to a remote, once.
func (a *app) session(ctx context.Context, name string) (*client.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.sessions[name]; c != nil {
		return c, nil
	}
	all, err := remotes.Load()
	if err != nil {
		return nil, err
	}
	r, ok := all.Remotes[name]
	if !ok {
		return nil, unknownRemote(name, all)
	}
	c, err := connect.Dial(ctx, a.dialOptions(r))
	if err != nil {
		return nil, err
	}
	a.sessions[name] = c
	return c, nil
}

func (a *app) dialOptions(r remotes.Remote) connect.Options {
	o := r.Options(a.passphraseFile)
	o.NoPrompt = a.noPrompt
	return o
}

func unknownRemote(name string, all *remotes.File) error {
	if len(all.Remotes) == 0 {
		return usageError{fmt.Errorf("there is no remote %q: give it a name with `efs remote add %s https://HOST --key … --cert … --ca …`", name, name)}
	}
	return usageError{fmt.Errorf("there is no remote %q; there are: %s (a local path with a colon is written ./%s:…)",
		name, strings.Join(slices.Sorted(maps.Keys(all.Remotes)), ", "), name)}
}
