package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
)

// startWait is how long to wait for another command's private server that is just starting or just ending.
const startWait = 15 * time.Second

// with connects to a server, runs fn, and ends the server again if it was a private one.
func (a *app) with(cmd *cobra.Command, fn func(ctx context.Context, c *client) error) (err error) {
	c, err := a.connect(cmd)
	if err != nil {
		return err
	}
	defer func() {
		c.rest.HTTP.CloseIdleConnections()
		if c.stop != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	return fn(cmd.Context(), c)
}

// connect finds a server: the one that was named, the one that runs on the data directory, or a private one.
func (a *app) connect(cmd *cobra.Command) (*client, error) {
	name, from := a.server, "--server"
	if name == "" {
		name, from = os.Getenv("AWS_ENDPOINT_URL"), "AWS_ENDPOINT_URL"
	}
	if name != "" {
		return a.connectTo(cmd.Context(), name, from)
	}
	deadline := time.Now().Add(startWait)
	for {
		c, err := a.connectHere(cmd.Context())
		if c != nil || err != nil {
			return c, err
		}
		c, err = a.startPrivate(cmd)
		if !errors.Is(err, server.ErrInUse) || time.Now().After(deadline) {
			return c, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-cmd.Context().Done():
			return nil, cmd.Context().Err()
		}
	}
}

// connectTo connects to a server that the user named.
func (a *app) connectTo(ctx context.Context, name, from string) (*client, error) {
	u, err := url.Parse(name)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usagef("%s: %q is not the URL of a server, such as http://127.0.0.1:9480", from, name)
	}
	base := strings.TrimRight(u.Scheme+"://"+u.Host, "/")
	h, err := newHTTP(base, "")
	if err != nil {
		return nil, err
	}
	if err := probe(ctx, h, base); err != nil {
		return nil, fmt.Errorf("no Lockfast server answers at %s (from %s); start one with `lockfast serve`: %w", base, from, err)
	}
	key, err := a.userKey()
	if err != nil {
		return nil, err
	}
	region := a.config.Region
	for _, v := range []string{"AWS_DEFAULT_REGION", "AWS_REGION"} {
		if s := os.Getenv(v); s != "" {
			region = s
		}
	}
	return newClient(base, region, key, h), nil
}

// connectHere connects to the server that runs on the data directory; there is none if both results are nil.
func (a *app) connectHere(ctx context.Context) (*client, error) {
	addr, err := server.ReadAddress(a.config.Data)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the running server: %w", err)
	}
	dead := errors.Is(unix.Kill(addr.PID, 0), unix.ESRCH)
	if dead {
		return nil, nil
	}
	h, err := newHTTP(addr.URL, addr.Certificate)
	if err != nil {
		return nil, err
	}
	if !answers(ctx, h, addr.URL) {
		return nil, nil
	}
	key, err := server.ReadCredentials(server.CredentialsFile(a.config.Data), "default")
	if err != nil {
		return nil, err
	}
	return newClient(addr.URL, addr.Region, key, h), nil
}

func newClient(base, region string, key server.AccessKey, h *http.Client) *client {
	return &client{region: region, rest: &restjson.Client{URL: base, Region: region, AccessKeyID: key.ID,
		Secret: key.Secret, SessionToken: key.SessionToken, HTTP: h}}
}

// startPrivate runs a server on the data directory until the client's stop is called. It answers
// [server.ErrInUse] if there is another one.
func (a *app) startPrivate(cmd *cobra.Command) (*client, error) {
	if err := a.loadConfig(cmd.Flags()); err != nil {
		return nil, err
	}
	config := a.config
	config.Listen, config.TLSCert, config.TLSKey = "127.0.0.1:0", "", ""
	log := slog.New(slog.NewTextHandler(a.out.stderr, &slog.HandlerOptions{Level: max(config.LogLevel, slog.LevelError)}))
	s, err := server.Open(cmd.Context(), server.Options{Config: config, Private: true, Log: log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(cmd.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop := func() error {
		cancel()
		slow := time.AfterFunc(time.Second, func() {
			a.out.note("lockfast: another command still works with this one's server; waiting for it")
		})
		defer slow.Stop()
		return <-done
	}
	key, err := server.ReadCredentials(server.CredentialsFile(config.Data), "default")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	h, err := newHTTP(s.Address().URL, "")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	c := newClient(s.Address().URL, config.Region, key, h)
	c.stop = stop
	return c, nil
}

// userKey finds the access key for a server that the user named, as AWS's own tools would, and last in the data
// directory.
func (a *app) userKey() (server.AccessKey, error) {
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); id != "" {
		return server.AccessKey{ID: id, Secret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("AWS_SESSION_TOKEN")}, nil
	}
	profile := os.Getenv("AWS_PROFILE")
	if profile == "" {
		profile = "default"
	}
	if name := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); name != "" {
		return server.ReadCredentials(name, profile)
	}
	key, err := server.ReadCredentials(server.CredentialsFile(a.config.Data), "default")
	if err == nil {
		return key, nil
	}
	key, homeErr := server.ReadCredentials(filepath.Join(os.Getenv("HOME"), ".aws", "credentials"), profile)
	if homeErr == nil {
		return key, nil
	}
	return key, fmt.Errorf("no access key: set AWS_SHARED_CREDENTIALS_FILE to the server's credentials file: %w", err)
}
