package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkSmallAnswer measures client and server together, over TLS, with a
// handler that does nothing but answer: what net/http and this package add to
// a read of 4 KiB.
func BenchmarkSmallAnswer(b *testing.B) {
	body := make([]byte, 4096)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, name := range []string{"Etag", "Last-Modified", "Cache-Control", "Accept-Ranges", "Repr-Digest"} {
			h[name] = []string{"0123456789abcdef"}
		}
		h["Content-Length"], h["Content-Type"] = []string{"4096"}, []string{"application/octet-stream"}
		w.Write(body)
	})
	config := &tls.Config{Certificates: []tls.Certificate{certificate()}, DynamicRecordSizingDisabled: true}
	for name, serve := range map[string]func(net.Listener){
		"net-http": func(ln net.Listener) { _ = http.Serve(tls.NewListener(ln, config), handler) },
		"http1": func(ln net.Listener) {
			s := newServer(b, handler)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				tc := tls.Server(NewWire(c), config)
				if tc.Handshake() == nil {
					go s.ServeConn(context.Background(), tc)
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			must(b, err)
			b.Cleanup(func() { ln.Close() })
			go serve(ln)
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				in := bufio.NewReaderSize(c, 16<<10)
				for pb.Next() {
					if _, err := io.WriteString(c, "GET /data/dir/file HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"); err != nil {
						b.Error(err)
						return
					}
					for line := []byte("x"); len(line) > 2; {
						if line, err = in.ReadSlice('\n'); err != nil {
							b.Error(err)
							return
						}
					}
					if _, err := in.Discard(len(body)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
