package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/doctor"
)

// doctorCommand looks at what the server depends on.
func (i *invocation) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with the database and the configuration", Args: cobra.NoArgs,
		Long: "Doctor looks at everything that the server depends on and says what to do: the database\n" +
			"and its settings, the schema, indexes and tables, the clocks, and the Flovyn App that\n" +
			"judges credentials. It changes nothing, and prints no secrets.\n\n" +
			"The exit code is 0 if nothing failed, 1 if something did, 2 for a mistake in the\n" +
			"configuration.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := i.read()
			if err != nil {
				return err
			}
			findings := doctor.Examine(cmd.Context(), cfg)
			if err := doctor.Print(i.stdout, findings); err != nil {
				return failed(err)
			}
			if !doctor.Healthy(findings) {
				return failed(errors.New("something is wrong"))
			}
			return nil
		},
	}
}

// healthCommand asks the server on this machine whether it can do its work, for
// containers whose image holds no other program.
func (i *invocation) healthCommand() *cobra.Command {
	var address string
	var live bool
	timeout := 3 * time.Second
	cmd := &cobra.Command{
		Use: "health", Short: "Ask the server on this machine whether it is ready", Args: cobra.NoArgs,
		Long: "Health asks the server that runs with this configuration whether it can do its work, as\n" +
			"a health check of a container does. The exit code is 0 if so, and 1 if not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			url := address
			if url == "" {
				cfg, _, err := i.read()
				if err != nil {
					return err
				}
				url = ownURL(cfg)
			}
			path := "/_/health/ready"
			if live {
				path = "/_/health/live"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return failed(i.askHealth(ctx, strings.TrimSuffix(url, "/")+path))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&address, "url", "", "server to ask (default: the one of the configuration, on this machine)")
	flags.BoolVar(&live, "live", false, "ask only whether it is alive, not whether it can do its work")
	flags.DurationVar(&timeout, "timeout", timeout, "how long it may take")
	return cmd
}

// ownURL is where the server with a configuration is reached from its own machine:
// by its http door, or where that is closed by the other.
func ownURL(cfg *config.Config) string {
	host, port, scheme := cfg.Server.Host, cfg.Server.HTTPPort, "http"
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if !cfg.Auth.Endpoints.HTTP.Enabled {
		port = cfg.Server.GRPCPort
	}
	if cfg.Server.TLSCertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func (i *invocation) askHealth(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		//nolint:gosec // it is asked by its address on this machine, for which no certificate is made; no secret is sent
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	response, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("asking for its health: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", url, response.StatusCode, strings.TrimSpace(string(body)))
	}
	_, err = fmt.Fprintln(i.stdout, strings.TrimSpace(string(body)))
	return err
}
