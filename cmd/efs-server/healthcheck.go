package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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
			cfg, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ask(ctx, cmd.OutOrStdout(), healthURL(cfg, ready))
		},
	}
	config.Flags(cmd.Flags())
	cmd.Flags().BoolVar(&ready, "ready", false, "ask /readyz instead of /livez")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

// healthURL is where the server of these settings is asked.
func healthURL(cfg *config.Config, ready bool) string {
	scheme, address := "https", cfg.Server.Listen
	if cfg.Server.OpsListen != "" {
		scheme, address = "http", cfg.Server.OpsListen
	}
	path := "/livez"
	if ready {
		path = "/readyz"
	}
	return scheme + "://" + reachable(address) + path
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

func ask(ctx context.Context, out io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError{err}
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a stand-in certificate serves while the server is sealed
		DisableKeepAlives: true,
	}}
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
