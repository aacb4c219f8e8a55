package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/config"
	"github.com/spf13/cobra"
)

const healthcheckLong = `Ask the server on this machine how it is, for images without a shell: exit
code 0 if it answers with 200, 1 if not. It reads the same settings as the
server, and asks the ops listener where there is one, else HTTPS. The server's
certificate is not verified: nothing is sent but the question.`

func healthcheckCommand() *cobra.Command {
	var ready bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running server how it is (exit code 0 or 1)",
		Long:  healthcheckLong,
		Example: `  efs-server healthcheck                        # is it alive? also while it waits for its key
  efs-server healthcheck --ready                # does it serve files?
  efs-server healthcheck --listen :8443`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			url, socket, err := healthTarget(cfg, ready)
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ask(ctx, cmd.OutOrStdout(), url, socket)
		},
	}
	config.Flags(cmd.Flags())
	cmd.Flags().BoolVar(&ready, "ready", false, "ask /readyz instead of /livez")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

// healthTarget is where the server of these settings is asked: a listener for
// health alone if there is one, else the first that serves it.
func healthTarget(cfg *config.Config, ready bool) (url, socket string, err error) {
	all := cfg.Listeners()
	i := slices.IndexFunc(all, func(l config.Listener) bool { return l.Plain && l.OpsOnly() })
	if i < 0 {
		i = slices.IndexFunc(all, func(l config.Listener) bool {
			return !l.Plain && !l.ProxyProtocol && (len(l.Routes) == 0 || slices.Contains(l.Routes, "ops"))
		})
	}
	if i < 0 {
		i = slices.IndexFunc(all, func(l config.Listener) bool { return !l.Plain && len(l.Routes) == 0 })
	}
	if i < 0 {
		return "", "", errors.New("no listener serves /livez and /readyz to this machine: add one with routes = [\"ops\"] and plain = true")
	}
	path := map[bool]string{false: "/livez", true: "/readyz"}[ready]
	l := all[i]
	switch socket := l.UnixPath(); {
	case socket != "":
		return "http://localhost" + path, socket, nil
	case l.Plain:
		return "http://" + reachable(l.Address) + path, "", nil
	}
	return "https://" + reachable(l.Address) + path, "", nil
}

// reachable turns an address to listen on into one to connect to: a number,
// as an image without files has nothing to look names up in.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// ask sends the question, over a Unix socket if one is named.
func ask(ctx context.Context, out io.Writer, url, socket string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError{err}
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a stand-in certificate serves while the server is sealed
		DisableKeepAlives: true,
	}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	client := &http.Client{Transport: transport}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("%s: reading the answer: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(string(body)))
	return err
}
