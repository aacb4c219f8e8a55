package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	minioUser   = "benchmark"
	minioSecret = "benchmark-secret"
	minioBucket = "bench"
)

// minioServer is MinIO with server-side encryption of every object under a
// static KMS key, on one drive, over TLS.
type minioServer struct {
	process
	bin  string
	addr string
	tls  *tls.Config
	key  atomic.Pointer[signingKey]
}

func (*minioServer) Name() string       { return "minio" }
func (m *minioServer) TLS() *tls.Config { return m.tls }

func (m *minioServer) Start(ctx context.Context, dir string) error {
	certs := filepath.Join(dir, "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		return err
	}
	var err error
	if m.tls, err = selfSigned(certs, "public.crt", "private.key"); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	kmsKey := make([]byte, 32)
	rand.Read(kmsKey)
	env := []string{
		"MINIO_ROOT_USER=" + minioUser, "MINIO_ROOT_PASSWORD=" + minioSecret,
		"MINIO_KMS_SECRET_KEY=bench:" + base64.StdEncoding.EncodeToString(kmsKey),
		"MINIO_KMS_AUTO_ENCRYPTION=on", "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_CI_CD=1", // allows a drive on the root volume
	}
	m.addr = "127.0.0.1:" + port
	if err := m.start(dir, "minio", env, m.bin, "server", "--quiet", "--certs-dir", certs, "--address", "127.0.0.1:"+port, filepath.Join(dir, "data")); err != nil {
		return err
	}
	if err := m.waitFor(ctx, m.tls, "https://"+m.addr+"/minio/health/ready"); err != nil {
		return err
	}
	return m.makeBucket(ctx)
}

func (m *minioServer) makeBucket(ctx context.Context) error {
	c, err := dial(ctx, m, time.Now().Add(10*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	head := m.appendHead(nil, http.MethodPut, "/"+minioBucket)
	if _, err := c.tls.Write(append(head, "Content-Length: 0\r\n\r\n"...)); err != nil {
		return err
	}
	a, err := c.answer("")
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return c.unexpected(a, http.StatusOK)
	}
	return nil
}

func (m *minioServer) Addr() string { return m.addr }
func (*minioServer) Stored() int    { return http.StatusOK }

// Proof is that an object was encrypted, on each answer that carries or
// confirms one.
func (*minioServer) Proof(method string) string {
	if method == http.MethodDelete {
		return ""
	}
	return "x-amz-server-side-encryption"
}

func (m *minioServer) AppendHead(head []byte, method, key string) []byte {
	return m.appendHead(head, method, "/"+minioBucket+"/"+key)
}
