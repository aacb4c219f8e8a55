package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/efs-project/efs/client"
)

// efsServer is EFS as it is run: TLS 1.3, client certificate, Basic and token
// on every request, every store synced before it is confirmed.
type efsServer struct {
	process
	bin        string // directory of the binaries
	addr, base string
	tls        *tls.Config
	headers    string // what follows the path in every request
}

func (*efsServer) Name() string       { return "efs" }
func (e *efsServer) TLS() *tls.Config { return e.tls }

func (e *efsServer) Start(ctx context.Context, dir string) error {
	root, out := filepath.Join(dir, "root"), filepath.Join(dir, "user")
	key, err := exec.Command(filepath.Join(e.bin, "efs-server"), "keygen").Output()
	if err != nil {
		return fmt.Errorf("efs-server keygen: %w", err)
	}
	keyFile := filepath.Join(dir, "starter.key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	e.addr = "127.0.0.1:" + port
	e.base = "https://" + e.addr
	if err := e.start(dir, "efs", nil, filepath.Join(e.bin, "efs-server"), "--root", root, "--listen", "127.0.0.1:"+port, "--starter-key-file", keyFile); err != nil {
		return err
	}
	if err := e.waitFor(ctx, &tls.Config{InsecureSkipVerify: true}, e.base+"/readyz"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create-fs", "bench"},
		{"create-user", "bench", "--fs", "bench", "--generate", "--out", out},
	} {
		cmd := exec.CommandContext(ctx, filepath.Join(e.bin, "efsctl"), append([]string{"--root", root}, args...)...)
		if msg, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("efsctl %s: %w\n%s", args[0], err, msg)
		}
	}
	return e.login(ctx, out)
}

func (e *efsServer) login(ctx context.Context, out string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(out, "clientCert.crt"), filepath.Join(out, "clientCert.crt"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(out, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	e.tls = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, ServerName: "localhost"}
	signer, err := client.LoadKey(filepath.Join(out, "priv.pgp"), nil)
	if err != nil {
		return err
	}
	var hello struct{ Nonce, Message string }
	if err := e.post(ctx, "/auth/hello", map[string]string{"user": "bench"}, &hello); err != nil {
		return err
	}
	sig, err := signer.Sign([]byte(hello.Message))
	if err != nil {
		return err
	}
	var session struct{ Token, Basic string }
	if err := e.post(ctx, "/auth/session", map[string]string{"user": "bench", "nonce": hello.Nonce, "signature": sig}, &session); err != nil {
		return err
	}
	e.headers = " HTTP/1.1\r\nHost: " + e.addr + "\r\nAuthorization: Basic " + session.Basic + "\r\nEFS-Token: " + session.Token + "\r\n"
	return nil
}

func (e *efsServer) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: e.tls}}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		msg, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", path, resp.Status, msg)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (e *efsServer) Addr() string { return e.addr }

func (e *efsServer) AppendHead(head []byte, method, key string) []byte {
	head = append(head, method...)
	head = append(head, " /data/"...)
	head = append(head, key...)
	return append(head, e.headers...)
}

// Stored: what is stored is new, and confirmed with its ETag.
func (*efsServer) Stored() int { return http.StatusCreated }

func (*efsServer) Proof(method string) string {
	if method == http.MethodPut {
		return "etag"
	}
	return ""
}

// fingerprint tells which build was measured.
func fingerprint(bin string) string {
	b, err := os.ReadFile(filepath.Join(bin, "efs-server"))
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
