package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long a step waits for a command, or a server, that is held up.
const patience = 5 * time.Minute

// removeInSteps deletes points and then reclaims, for tools that need a command for each.
func removeInSteps(ctx context.Context, t tool, points []int) (usage, error) {
	deleted, err := t.forget(ctx, points...)
	if err != nil {
		return deleted, err
	}
	reclaimed, err := t.reclaim(ctx)
	return deleted.plus(reclaimed), err
}

// alone is the end of a tool whose commands need nothing to run beside each other.
func alone() error { return nil }

func (r *restic) share(context.Context) (func() error, error) { return alone, nil }
func (r *restic) lock() string                                { return filepath.Join(r.dir, "repo", "locks", "*") }

func (r *restic) forget(ctx context.Context, points ...int) (usage, error) {
	return r.forgetWith(ctx, nil, points)
}

func (r *restic) forgetWith(ctx context.Context, flags []string, points []int) (usage, error) {
	args := append([]string{"forget"}, flags...)
	for _, p := range points {
		args = append(args, r.ids[p])
	}
	u, _, err := r.run(ctx, r.dir, args...)
	return u, err
}

func (r *restic) reclaim(ctx context.Context) (usage, error) {
	u, _, err := r.run(ctx, r.dir, "prune")
	return u, err
}

func (b *borg) share(context.Context) (func() error, error) { return alone, nil }
func (b *borg) lock() string                                { return filepath.Join(b.dir, "repo", "lock.exclusive") }

func (b *borg) forget(ctx context.Context, points ...int) (usage, error) {
	args := []string{"delete", "::"}
	for _, p := range points {
		args = append(args, fmt.Sprintf("p%d", p))
	}
	return b.run(ctx, b.dir, args...)
}

func (b *borg) reclaim(ctx context.Context) (usage, error) {
	return b.run(ctx, b.dir, "compact", "--threshold", "0")
}

func (l *lockfast) lock() string { return "" }

func (l *lockfast) forget(ctx context.Context, points ...int) (usage, error) {
	args := []string{"delete"}
	for _, p := range points {
		args = append(args, l.arns[p])
	}
	u, _, err := l.run(ctx, args...)
	return u, err
}

func (l *lockfast) reclaim(ctx context.Context) (usage, error) {
	u, _, err := l.run(ctx, "vault", "reclaim", "Default")
	return u, err
}

// share starts a server on the data directory, which commands find there. The
// reclaim that follows a deletion by itself stays away: it would add to the one
// that is measured.
func (l *lockfast) share(ctx context.Context) (func() error, error) {
	log, err := os.Create(filepath.Join(l.dir, "serve.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the server has its own
	ctx, kill := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, l.binary, "serve", "--listen", "127.0.0.1:0", "--reclaim-delay", "1h")
	cmd.Dir, cmd.Env, cmd.Stderr = l.dir, l.env, log
	out, err := cmd.StdoutPipe()
	if err != nil {
		kill()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		kill()
		return nil, err
	}
	late := time.AfterFunc(patience, kill)
	_, err = bufio.NewReader(out).ReadString('\n') // says that it serves
	late.Stop()
	if err != nil {
		kill()
		return nil, errors.Join(fmt.Errorf("serve, see %s: %w", log.Name(), err), cmd.Wait())
	}
	return func() error {
		defer kill()
		defer time.AfterFunc(patience, kill).Stop()
		return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}, nil
}

// refused reports whether a command ended because of the lock of another.
func refused(err error) bool {
	_, exited := errors.AsType[*exec.ExitError](err)
	return exited && (strings.Contains(err.Error(), "already locked") || // restic
		strings.Contains(err.Error(), "acquire the lock")) // borg
}
