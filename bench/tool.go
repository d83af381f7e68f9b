package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tool is a backup program driven through its command line. Points are
// numbered by the caller from 1 in the order of the backups.
type tool interface {
	name() string
	prepare(ctx context.Context) error
	backup(ctx context.Context, point int, path string) (usage, error)
	restore(ctx context.Context, point int, to string) (usage, error)
	// remove deletes the points and gives their space back.
	remove(ctx context.Context, points ...int) (usage, error)
	// forget deletes the points and leaves their space to reclaim.
	forget(ctx context.Context, points ...int) (usage, error)
	// reclaim gives back the space that no point needs.
	reclaim(ctx context.Context) (usage, error)
	// share lets commands run beside each other, as far as the tool can, until
	// end is called.
	share(ctx context.Context) (end func() error, err error)
	// lock matches what exists while a reclaim keeps backups out; "" if it does not.
	lock() string
	// verify reads and checks every byte that is stored.
	verify(ctx context.Context) (usage, error)
	// store is the folder whose files are what the tool stores.
	store() string
}

func newTool(name, dir string) (tool, error) {
	env := append(os.Environ(), "HOME="+dir)
	switch name {
	case "restic":
		return &restic{dir: dir, env: append(env, "RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY="+filepath.Join(dir, "repo"),
			"RESTIC_CACHE_DIR="+filepath.Join(dir, "cache")), ids: map[int]string{}}, nil
	case "borg":
		return &borg{dir: dir, env: append(env, "BORG_PASSPHRASE=bench", "BORG_REPO="+filepath.Join(dir, "repo"),
			"BORG_BASE_DIR="+dir)}, nil
	case "lockfast", "lockfast-libzstd":
		binary, err := filepath.Abs(filepath.Join("bin", name))
		if err != nil {
			return nil, err
		}
		return &lockfast{binary: binary, dir: dir, env: append(env, "LOCKFAST_DATA="+filepath.Join(dir, "data")),
			arns: map[int]string{}}, nil
	}
	return nil, fmt.Errorf("unknown tool %q: use restic, borg, lockfast or lockfast-libzstd", name)
}

type restic struct {
	dir string
	env []string
	ids map[int]string
}

func (r *restic) name() string  { return "restic" }
func (r *restic) store() string { return filepath.Join(r.dir, "repo") }

func (r *restic) run(ctx context.Context, dir string, args ...string) (usage, []byte, error) {
	return measure(ctx, dir, r.env, append([]string{"restic"}, args...)...)
}

func (r *restic) prepare(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	_, _, err := r.run(ctx, r.dir, "init")
	return err
}

func (r *restic) backup(ctx context.Context, point int, path string) (usage, error) {
	u, out, err := r.run(ctx, r.dir, "backup", "--json", "--quiet", path)
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(out) {
		var summary struct {
			SnapshotID string `json:"snapshot_id"`
		}
		if json.Unmarshal(line, &summary) == nil && summary.SnapshotID != "" {
			r.ids[point] = summary.SnapshotID
		}
	}
	if r.ids[point] == "" {
		return u, fmt.Errorf("restic backup named no snapshot: %s", out)
	}
	return u, nil
}

func (r *restic) restore(ctx context.Context, point int, to string) (usage, error) {
	u, _, err := r.run(ctx, r.dir, "restore", r.ids[point], "--target", to)
	return u, err
}

// remove is one command, as users have it.
func (r *restic) remove(ctx context.Context, points ...int) (usage, error) {
	return r.forgetWith(ctx, []string{"--prune"}, points)
}

func (r *restic) verify(ctx context.Context) (usage, error) {
	u, _, err := r.run(ctx, r.dir, "check", "--read-data")
	return u, err
}

type borg struct {
	dir string
	env []string
}

func (b *borg) name() string  { return "borg" }
func (b *borg) store() string { return filepath.Join(b.dir, "repo") }

func (b *borg) run(ctx context.Context, dir string, args ...string) (usage, error) {
	u, _, err := measure(ctx, dir, b.env, append([]string{"borg"}, args...)...)
	return u, err
}

func (b *borg) prepare(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	_, err := b.run(ctx, b.dir, "init", "--encryption", "repokey-blake2")
	return err
}

func (b *borg) backup(ctx context.Context, point int, path string) (usage, error) {
	return b.run(ctx, b.dir, "create", "--compression", "zstd", fmt.Sprintf("::p%d", point), path)
}

func (b *borg) restore(ctx context.Context, point int, to string) (usage, error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return usage{}, err
	}
	return b.run(ctx, to, "extract", fmt.Sprintf("::p%d", point))
}

func (b *borg) remove(ctx context.Context, points ...int) (usage, error) {
	return removeInSteps(ctx, b, points)
}

func (b *borg) verify(ctx context.Context) (usage, error) {
	return b.run(ctx, b.dir, "check", "--verify-data")
}

type lockfast struct {
	binary, dir string
	env         []string
	arns        map[int]string
}

func (l *lockfast) name() string  { return filepath.Base(l.binary) }
func (l *lockfast) store() string { return filepath.Join(l.dir, "data", "store") }

func (l *lockfast) run(ctx context.Context, args ...string) (usage, []byte, error) {
	return measure(ctx, l.dir, l.env, append([]string{l.binary}, args...)...)
}

// prepare makes the vault, as the other tools make their repositories.
func (l *lockfast) prepare(ctx context.Context) error {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	_, _, err := l.run(ctx, "list")
	return err
}

func (l *lockfast) backup(ctx context.Context, point int, path string) (usage, error) {
	u, out, err := l.run(ctx, "backup", "--json", path)
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(out) {
		var result struct {
			Type string `json:"type"`
			ARN  string `json:"recovery_point_arn"`
		}
		if json.Unmarshal(line, &result) == nil && result.Type == "result" {
			l.arns[point] = result.ARN
		}
	}
	if l.arns[point] == "" {
		return u, fmt.Errorf("lockfast backup named no recovery point: %s", out)
	}
	return u, nil
}

func (l *lockfast) restore(ctx context.Context, point int, to string) (usage, error) {
	u, _, err := l.run(ctx, "restore", l.arns[point], "--to", to)
	return u, err
}

func (l *lockfast) remove(ctx context.Context, points ...int) (usage, error) {
	return removeInSteps(ctx, l, points)
}

func (l *lockfast) verify(ctx context.Context) (usage, error) {
	u, _, err := l.run(ctx, "vault", "verify", "Default", "--level", "3")
	return u, err
}

// measure runs a command to its end and returns what it used and printed.
func measure(ctx context.Context, dir string, env []string, argv ...string) (usage, []byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	u, err := timed(cmd)
	if err != nil {
		return u, nil, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, errs.String())
	}
	return u, out.Bytes(), nil
}
