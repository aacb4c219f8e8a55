package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/efs-project/efs/internal/latency"
)

// Limits are what this machine does at best, measured in the same run.
type Limits struct {
	AES256GCM float64       `json:"aes_256_gcm_bytes_per_second"` // sealing 64 KiB segments on one core
	SHA256    float64       `json:"sha_256_bytes_per_second"`     // on one core
	TLS       float64       `json:"tls_bytes_per_second"`         // bare TLS server on loopback to 4 clients, 64 MiB answers
	TLSSmall  float64       `json:"tls_4k_answers_per_second"`    // the same to 16 clients, 4 KiB answers
	Sync      time.Duration `json:"synced_4k_write_p50_ns"`       // write and fdatasync inside a file
	Disk      float64       `json:"disk_bytes_per_second"`        // four writers of 64 MiB files, synced
}

func (l *Limits) String() string {
	return fmt.Sprintf("AES-256-GCM %.2f GB/s, SHA-256 %.2f GB/s a core; bare TLS %.0f MB/s, %.0f answers of 4 KiB/s; a synced write of 4 KiB %s; disk synced %.0f MB/s",
		l.AES256GCM/1e9, l.SHA256/1e9, l.TLS/1e6, l.TLSSmall, short(l.Sync), l.Disk/1e6)
}

// better takes the best of two measurements.
func (l *Limits) better(other *Limits) {
	if other == nil {
		return
	}
	l.AES256GCM, l.SHA256 = max(l.AES256GCM, other.AES256GCM), max(l.SHA256, other.SHA256)
	l.TLS, l.TLSSmall = max(l.TLS, other.TLS), max(l.TLSSmall, other.TLSSmall)
	l.Sync, l.Disk = min(l.Sync, other.Sync), max(l.Disk, other.Disk)
}

// limits measures them, d each. Of several times the best counts: a limit is
// what the machine can do, not what it does while it is busy.
func (b *bench) limits(ctx context.Context, d time.Duration) error {
	l := &Limits{AES256GCM: gcmRate(d), SHA256: shaRate(d)}
	bare := &bareServer{}
	defer bare.Stop()
	if err := bare.Start(ctx, b.dir); err != nil {
		return err
	}
	var seq atomic.Int64
	big, err := load(ctx, bare, Work{Name: "64m", Method: http.MethodGet, Size: 64 << 20, Clients: 4, Keys: 1}, d, &seq)
	if err != nil {
		return err
	}
	small, err := load(ctx, bare, Work{Name: "4k", Method: http.MethodGet, Size: 4 << 10, Clients: 16, Keys: 1}, d, &seq)
	if err != nil {
		return err
	}
	if big.Errors+small.Errors > 0 {
		return fmt.Errorf("bare TLS: %s%s", big.First, small.First)
	}
	l.TLS, l.TLSSmall = big.Rate()*(64<<20), small.Rate()
	drain()
	if l.Sync, err = syncLatency(b.dir, d); err != nil {
		return err
	}
	disk, err := diskRound(ctx, b.dir, Work{Size: 64 << 20, Clients: 4}, 2*d)
	if err != nil {
		return err
	}
	l.Disk = disk.Rate() * (64 << 20)
	b.say("limits     %s", l)
	l.better(b.rep.Limits)
	b.rep.Limits = l
	return nil
}

const segment = 64 << 10

// gcmRate is how many bytes a second one core seals in segments of 64 KiB.
func gcmRate(d time.Duration) float64 {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic(err) // the key has a right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has GCM's block size
	}
	nonce, aad, dst := make([]byte, aead.NonceSize()), make([]byte, 32), make([]byte, 0, segment+aead.Overhead())
	return throughput(d, func() { aead.Seal(dst, nonce, pattern[:segment], aad) })
}

func shaRate(d time.Duration) float64 {
	h := sha256.New()
	return throughput(d, func() { h.Write(pattern[:segment]) })
}

// throughput repeats what works on a segment for so long, and returns bytes a
// second of computing: what a core does that does nothing else.
func throughput(d time.Duration, do func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, computed := time.Now(), threadCPU()
	var n int
	for time.Since(start) < d {
		for range 16 {
			do()
		}
		n += 16
	}
	return float64(n) * segment / (threadCPU() - computed).Seconds()
}

// threadCPU returns how long the calling thread has computed.
func threadCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD, getrusage(2)
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err) // there is always a calling thread
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// syncLatency is the usual time of a 4 KiB write within a file and its
// fdatasync.
func syncLatency(dir string, d time.Duration) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const pages = 1024
	if _, err := f.Write(make([]byte, pages*4096)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var h latency.Histogram
	start := time.Now()
	for n := int64(0); time.Since(start) < d; n++ {
		at := time.Now()
		if _, err := f.WriteAt(piece(n, 0, 4096), n%pages*4096); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		h.Add(time.Since(at))
	}
	return h.Quantile(0.5), nil
}

// bareServer answers every read from memory: crypto/tls and nothing else. What
// it does is what a server written in Go can do at most.
type bareServer struct {
	listener net.Listener
	tls      *tls.Config
}

func (*bareServer) Name() string        { return "bare" }
func (s *bareServer) Addr() string      { return s.listener.Addr().String() }
func (s *bareServer) TLS() *tls.Config  { return s.tls }
func (*bareServer) Stored() int         { return http.StatusCreated }
func (*bareServer) Proof(string) string { return "" }
func (*bareServer) PID() int            { return os.Getpid() }
func (s *bareServer) AppendHead(head []byte, method, key string) []byte {
	return append(head, method+" /"+key+" HTTP/1.1\r\nHost: localhost\r\n"...)
}

func (s *bareServer) Stop() {
	if s.listener != nil {
		s.listener.Close()
	}
}

func (s *bareServer) Start(_ context.Context, dir string) error {
	var err error
	if s.tls, err = selfSigned(dir, "bare.crt", "bare.key"); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "bare.crt"), filepath.Join(dir, "bare.key"))
	if err != nil {
		return err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	go func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return // Stop
			}
			go s.serve(newWire(c), cfg)
		}
	}()
	return nil
}

// serve answers with the object 0 of the size that the key begins with.
func (s *bareServer) serve(w *wire, cfg *tls.Config) {
	defer w.Conn.Close()
	c := tls.Server(w, cfg)
	in := make([]byte, 0, 16<<10)
	for {
		n, err := c.Read(in[len(in):cap(in)])
		if err != nil {
			return // the client has gone
		}
		if in = in[:len(in)+n]; !bytes.HasSuffix(in, []byte("\r\n\r\n")) {
			continue
		}
		size := 4 << 10
		if bytes.HasPrefix(in, []byte("GET /64m/")) {
			size = 64 << 20
		}
		head := fmt.Appendf(in[:0], "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		first := min(size, 8<<10)
		c.Write(append(head, piece(0, 0, first)...)) // an error comes again
		for at := first; at < size; {
			n := min(size-at, patternPiece)
			if _, err := c.Write(piece(0, int64(at), n)); err != nil {
				return
			}
			at += n
		}
		if w.Flush() != nil {
			return
		}
		in = in[:0]
	}
}
