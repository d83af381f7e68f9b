package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/resource"
)

// How long the steps of stopping take at most; together less than the 30 s that an init system grants.
const (
	httpGrace  = 3 * time.Second  // for requests under way
	flushGrace = 5 * time.Second  // for states that are not in the store yet
	workGrace  = 15 * time.Second // for jobs; then they are abandoned, which takes another 10 s at most
)

// keysGrace is how long a private server, which no init system stops, goes on wrapping keys.
const keysGrace = 5 * time.Minute

// Options says which server to open.
type Options struct {
	Config Config // checked
	// Private is for a server that serves one command. It does the work that it is asked for and nothing by itself, and
	// ends only when the other commands that found it meanwhile are done.
	Private bool
	Log     *slog.Logger
	// Now is the clock of policy, by which lifecycles and windows count; nil is time.Now. Leases and signatures use real
	// time in any case.
	Now   func() time.Time
	grace time.Duration // for jobs when the server stops; workGrace unless a test sets it
	// wrap lets tests get between a runner and its driver.
	wrap func(resource.Driver) resource.Driver
	// roles stands for what roles allow, in tests.
	roles roles
	// lease, in tests, is how long the owner of anything may be silent before others take it for dead; 0 stands for the
	// defaults of each.
	lease time.Duration
	// hook and system let tests cut the database and the store: see [meta.Options] and [fs.Options].
	hook   func(point string) error
	system fs.System
}

// Server is a server that owns its data directory and its port.
type Server struct {
	o        Options
	dir      *Directory
	listener *listener
	parts    *parts
}

// Open locks the data directory, binds the port, brings the database up to date, and cleans up what a killed server left.
// Connections wait until [Server.Serve], which must follow.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.Private:
		o.grace = 0 // whoever wanted work done has hung up
	case o.grace == 0:
		o.grace = workGrace
	}
	s := &Server{o: o}
	err := s.open(ctx)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.dir, err = LockDirectory(s.o.Config.Data); err != nil {
		return err
	}
	if s.listener, err = listen(s.o.Config, s.o.Log); err != nil {
		return err
	}
	s.parts, err = build(ctx, s.o)
	if meta.IsDamaged(err) {
		return fmt.Errorf("database %s is damaged; `lockfast store rebuild` makes a new one from the store: %w",
			strings.TrimPrefix(s.o.Config.Metadata, "sqlite:"), err)
	}
	if err != nil {
		return err
	}
	if err := s.dir.Announce(s.Address()); err != nil {
		return errors.Join(err, s.parts.workers.Stop(ctx))
	}
	return nil
}

// Address says how to reach the server.
func (s *Server) Address() Address {
	return Address{URL: s.listener.url, PID: os.Getpid(), Region: s.o.Config.Region, Certificate: s.o.Config.TLSCert}
}

// Serve answers requests and works jobs until ctx is done, and then stops: requests and jobs under way may finish for
// some seconds, what is left is abandoned and done again by the next server.
func (s *Server) Serve(ctx context.Context) error {
	s.o.Log.InfoContext(ctx, "server started", "url", s.listener.url, "data", s.dir.Path(), "pid", os.Getpid())
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return s.listener.serve(s.parts.handler) })
	if !s.o.Private {
		g.Go(func() error { return s.parts.background(inner) })
	}
	g.Go(func() error {
		<-inner.Done()
		return s.stop(context.WithoutCancel(ctx))
	})
	err := errors.Join(g.Wait(), s.close())
	s.o.Log.InfoContext(ctx, "server stopped")
	return err
}

// stop ends everything that Serve runs.
func (s *Server) stop(ctx context.Context) error {
	err := s.dir.Withdraw()
	if s.o.Private {
		s.listener.drain()
	}
	httpCtx, cancel := context.WithTimeout(ctx, httpGrace)
	defer cancel()
	if s.listener.http.Shutdown(httpCtx) != nil {
		err = errors.Join(err, s.listener.http.Close())
	}
	workCtx, cancel := context.WithTimeout(ctx, s.o.grace)
	defer cancel()
	err = errors.Join(err, s.parts.workers.Stop(workCtx))
	if s.o.Private { // others do it in the background
		keysCtx, cancel := context.WithTimeout(ctx, keysGrace)
		defer cancel()
		err = errors.Join(err, s.parts.renewRotated(keysCtx))
	}
	flushCtx, cancel := context.WithTimeout(ctx, flushGrace)
	defer cancel()
	s.parts.runners.states.Flush(flushCtx)
	return err
}

// close releases what open took, as far as it came.
func (s *Server) close() error {
	var err error
	if s.parts != nil {
		err = s.parts.close()
	}
	if s.listener != nil {
		_ = s.listener.Close() // closed already, unless Serve never ran
	}
	if s.dir != nil {
		err = errors.Join(err, s.dir.Withdraw(), s.dir.Close())
	}
	return err
}
