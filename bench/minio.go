package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
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
	base string
	tls  *tls.Config
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
	m.base = "https://127.0.0.1:" + port
	if err := m.start(dir, "minio", env, m.bin, "server", "--quiet", "--certs-dir", certs, "--address", "127.0.0.1:"+port, filepath.Join(dir, "data")); err != nil {
		return err
	}
	if err := m.waitFor(ctx, m.tls, m.base+"/minio/health/ready"); err != nil {
		return err
	}
	c, err := minio.New("127.0.0.1:"+port, &minio.Options{
		Creds: credentials.NewStaticV4(minioUser, minioSecret, ""), Secure: true,
		Transport: &http.Transport{TLSClientConfig: m.tls},
	})
	if err != nil {
		return err
	}
	return c.MakeBucket(ctx, minioBucket, minio.MakeBucketOptions{})
}

func (m *minioServer) Request(method, key string, body []byte) (*http.Request, error) {
	r, err := newRequest(method, fmt.Sprintf("%s/%s/%s", m.base, minioBucket, key), body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	return signer.SignV4(*r, minioUser, minioSecret, "", "us-east-1"), nil
}
