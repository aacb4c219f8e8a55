package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
)

// maxRequest bounds a request's body, bytes: public keys and certificate
// requests are the largest things in one.
const maxRequest = 1 << 20

// Server answers efsctl on the admin socket of a root.
type Server struct {
	node     *node.Node
	log      *slog.Logger
	root     string
	listener net.Listener
	http     *http.Server
	secrets  *handover
	done     sync.WaitGroup
	reload   func(context.Context) (Reloaded, error) // nil: not to be had
}

// NewServer listens on the socket of root. The caller has root locked (which
// an open node does) and calls Serve.
func NewServer(n *node.Node, root string, log *slog.Logger) (*Server, error) {
	l, err := listen(SocketPath(root))
	if err != nil {
		return nil, err
	}
	h, err := newHandover(root)
	if err != nil {
		_ = l.Close() // nothing was accepted
		return nil, err
	}
	s := &Server{node: n, log: log, root: root, listener: l, secrets: h}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Serve answers until ctx ends; then commands under way are cancelled, waited
// for, and the socket is removed.
func (s *Server) Serve(ctx context.Context) error {
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		cancel()
		// Commands end with base; those that must be finished finish quickly.
		grace, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		if err := s.http.Shutdown(grace); err != nil {
			_ = s.http.Close() // whoever still listens is told by the broken stream
		}
	}()
	s.done.Go(s.secrets.serve)
	err := s.http.Serve(s.listener)
	s.secrets.close()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	<-stopped
	s.done.Wait()
	if err := os.Remove(SocketPath(s.root)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the admin socket: %w", err)
	}
	return nil
}

// handle answers one command.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.done.Add(1)
	defer s.done.Done()
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	op := operations[name]
	if !ok || op == nil {
		http.Error(w, "no such operation", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "operations are POSTed", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &stream{w: w, flush: http.NewResponseController(w)}
	log := s.log.With(append([]any{"command", name}, subject(body)...)...)
	start := time.Now()
	result, err := s.audited(r.Context(), name, body, func() (any, error) { return op(r.Context(), s, out, body) })
	if err != nil {
		log.Warn("admin command failed", "took", time.Since(start), "err", forLog(name, err))
		out.send(Event{Error: failure(err)})
		return
	}
	log.Info("admin command", "took", time.Since(start))
	out.result(result)
}

// subject is what the log tells of a request: whose file system and which user
// it was about, so that the log shows who was let in and shut out.
func subject(body []byte) (attrs []any) {
	a := aboutOf(body)
	if a.fs != "" {
		attrs = append(attrs, "fs", a.fs)
	}
	if a.user != "" {
		attrs = append(attrs, "user", a.user)
	}
	return attrs
}

// operation runs a command. body is its request in JSON.
type operation func(ctx context.Context, s *Server, out *stream, body []byte) (any, error)

// typed makes an operation from a function with a request of its own type.
// Unknown fields are refused, since a part of a command that is not understood
// would otherwise silently not be done.
func typed[T any](fn func(ctx context.Context, s *Server, out *stream, request T) (any, error)) operation {
	return func(ctx context.Context, s *Server, out *stream, body []byte) (any, error) {
		var request T
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&request); err != nil {
			return nil, fmt.Errorf("request not understood; are efsctl and efs-server of the same version? %v: %w", err, efs.ErrBadInput)
		}
		return fn(ctx, s, out, request)
	}
}

// stream writes events. It is safe for concurrent use. That the caller went
// away is no error of the command, whose context tells it.
type stream struct {
	mu    sync.Mutex
	w     io.Writer
	flush *http.ResponseController
	last  time.Time // of a progress event
}

func (o *stream) send(e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return o.flush.Flush()
}

func (o *stream) line(s string) { _ = o.send(Event{Line: &s}) }

// progress passes on a few events a second.
func (o *stream) progress(done, total int64) {
	o.mu.Lock()
	now := time.Now()
	due := now.Sub(o.last) > 200*time.Millisecond
	if due {
		o.last = now
	}
	o.mu.Unlock()
	if due {
		_ = o.send(Event{Progress: &Progress{done, total}})
	}
}

func (o *stream) result(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		_ = o.send(Event{Error: failure(fmt.Errorf("encoding the answer: %w", err))})
		return
	}
	_ = o.send(Event{Result: raw})
}
