package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// nginxServer is nginx with WebDAV over TLS: no encryption at rest, no sync.
// It is the ceiling, not a peer. It is made to use the TLS cipher suite that Go's
// servers choose, so that all use the same.
type nginxServer struct {
	process
	bin  string
	addr string
	tls  *tls.Config

	headers string // what follows the path in every request
}

func (*nginxServer) Name() string       { return "nginx" }
func (n *nginxServer) TLS() *tls.Config { return n.tls }

const nginxConf = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
worker_processes 2;
%[3]s
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
  client_body_buffer_size 128k;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/t1; fastcgi_temp_path %[1]s/t2; uwsgi_temp_path %[1]s/t3; scgi_temp_path %[1]s/t4;
  server {
    listen 127.0.0.1:%[2]s ssl;
    ssl_certificate %[1]s/server.crt;
    ssl_certificate_key %[1]s/server.key;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    root %[1]s/data;
    location / { dav_methods PUT DELETE; create_full_put_path on; }
  }
}
`

func (n *nginxServer) Start(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o777); err != nil {
		return err
	}
	if n.tls, err = selfSigned(dir, "server.crt", "server.key"); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else the workers could not enter a private directory
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, port, user), 0o644); err != nil {
		return err
	}
	n.addr = "127.0.0.1:" + port
	n.headers = " HTTP/1.1\r\nHost: " + n.addr + "\r\n"
	if err := n.start(dir, "nginx", nil, n.bin, "-c", conf, "-p", dir); err != nil {
		return err
	}
	return n.waitFor(ctx, n.tls, "https://"+n.addr+"/")
}

func (n *nginxServer) Addr() string { return n.addr }

func (n *nginxServer) AppendHead(head []byte, method, key string) []byte {
	head = append(head, method...)
	head = append(head, " /"...)
	head = append(head, key...)
	return append(head, n.headers...)
}

func (*nginxServer) Stored() int         { return http.StatusCreated }
func (*nginxServer) Proof(string) string { return "" }
