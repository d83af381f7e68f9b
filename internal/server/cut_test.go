package server_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/blob/fs/crashfs"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/resource"
)

// shortCuts is how many cuts are tried when LOCKFAST_SOAK is not set.
const shortCuts = 36

// TestCut tells a story to a server once, and keeps an image of its database at every boundary of every transaction
// together with the steps of the disk under its store so far. Then the power is cut at every boundary, and at every step
// of the disk between two boundaries: a server is started on the database of the image and on the disk as a power cut
// leaves it, which loses, tears or reorders what was not synced. Each must end what was begun and keep what was promised.
func TestCut(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	w := record(t)
	cuts := w.cuts(seed)
	t.Logf("%d boundaries and %d steps of the disk make %d cuts", len(w.images), w.disk.Len(), len(cuts))
	if os.Getenv("LOCKFAST_SOAK") == "" {
		cuts = spread(cuts, shortCuts, seed)
	}
	if s := os.Getenv("LOCKFAST_CUT"); s != "" {
		cuts = slices.DeleteFunc(w.cuts(seed), func(c cut) bool { return !strings.HasPrefix(c.String(), s) })
	}
	places := make(chan struct{}, 4)
	t.Run("cuts", func(t *testing.T) {
		for _, c := range cuts {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				w.survives(t, c)
			})
		}
	})
}

// seedOf returns the seed of a random test and logs it.
func seedOf(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("LOCKFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	return seed
}

// world is what is recorded of a story.
type world struct {
	t    *testing.T
	dir  string // data directory
	home string // the directory that is backed up
	disk *crashfs.Disk
	db   *sql.Conn // a reader, that sees when others commit
	// trees are what the generations of home hold; copies are made beside it.
	trees []map[string]string
	// points are the generations of the recovery points, by ARN.
	points map[string]int
	// out is where the story restores to.
	out string
	// roles are what the roles of the recorded server allow. Later servers allow everything.
	roles policies

	armed  atomic.Bool
	broken atomic.Pointer[time.Time] // since when there is a fault
	gate   sync.RWMutex              // held for writing while an image is made; changes of the disk wait for it

	mu       sync.Mutex // guards what follows
	images   []image
	promises promises
}

// image is the state of a server at one moment.
type image struct {
	at       string // the boundary
	database string // file
	version  int64  // of the database
	step     int    // of the disk
	promises promises
}

// promises are what clients have been told.
type promises struct {
	generation int               // that home holds
	vaults     map[string]bool   // by name: false for one that is deleted
	jobs       map[string]string // backup jobs with their recovery points
	completed  map[string]bool   // recovery points that were seen COMPLETED and are wanted
	unwanted   map[string]bool   // recovery points that somebody has asked to delete
	deleted    map[string]bool   // recovery points of which the deletion was accepted
	expired    map[string]bool   // recovery points that were seen EXPIRED and that nobody has asked to delete again
	restores   map[string]bool   // restore jobs
}

func newPromises() promises {
	return promises{vaults: map[string]bool{}, jobs: map[string]string{}, completed: map[string]bool{},
		unwanted: map[string]bool{}, deleted: map[string]bool{}, expired: map[string]bool{}, restores: map[string]bool{}}
}

func (p promises) clone() promises {
	return promises{p.generation, maps.Clone(p.vaults), maps.Clone(p.jobs), maps.Clone(p.completed),
		maps.Clone(p.unwanted), maps.Clone(p.deleted), maps.Clone(p.expired), maps.Clone(p.restores)}
}

func newWorld(t *testing.T) *world {
	return &world{t: t, dir: t.TempDir(), home: filepath.Join(t.TempDir(), "home"), out: t.TempDir(), disk: crashfs.New(),
		points: map[string]int{}, promises: newPromises()}
}

// record tells the story.
func record(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.disk.Fail(func(string, string) error {
		w.gate.RLock()
		defer w.gate.RUnlock()
		return nil
	})
	f := start(t, server.WithRoles(server.WithCuts(options(t, w.dir), w.hook, w.disk), &w.roles))
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "meta.db")+"?_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if w.db, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.armed.Store(true)
	if err := w.story(f); err != nil {
		t.Fatal(err)
	}
	w.armed.Store(false)
	f.stop()
	return w
}

// hook makes an image.
func (w *world) hook(point string) error {
	if !w.armed.Load() || point == meta.BeforeBegin {
		return nil // as before is the state after the boundary before
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate.Lock()
	defer w.gate.Unlock()
	i := image{at: point, promises: w.promises.clone()}
	ctx := context.Background()
	for i.step = -1; i.step != w.disk.Len(); { // changes that were past the gate have ended then
		i.step = w.disk.Len()
		if err := w.db.QueryRowContext(ctx, "PRAGMA data_version").Scan(&i.version); err != nil {
			return err
		}
		if n := len(w.images); n > 0 && w.images[n-1].version == i.version {
			i.database = w.images[n-1].database
			continue
		}
		i.database = filepath.Join(w.out, fmt.Sprintf("image-%d-%d.db", len(w.images), i.step))
		if _, err := w.db.ExecContext(ctx, "VACUUM INTO ?", i.database); err != nil {
			return err
		}
	}
	w.images = append(w.images, i)
	return nil
}

// told notes what a client was told, or is about to ask for.
func (w *world) told(change func(p *promises)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.promises)
}

// story is what is told to the server. It ends at the first failure.
func (w *world) story(f *fixture) error {
	var arn, group, first, second, third string
	for _, step := range []func() error{
		func() error { return w.vault(f, "home") },
		func() error {
			return w.change(map[string]string{"a/one": "1", "a/b/two": strings.Repeat("two\n", 20_000), "three": "",
				"four": random(4, 300<<10), "same": random(1, 40<<10)})
		},
		func() error {
			out, err := restjson.Call(f.Context(), f.own, lockfastapi.RegisterResource,
				&lockfastapi.RegisterResourceInput{Path: new(w.home), Type: "EFS"})
			if err == nil {
				arn = out.ResourceArn
			}
			return err
		},
		func() (err error) { first, err = w.backup(f, "home", arn); return err },
		func() error {
			return w.change(map[string]string{"a/one": "changed", "four": random(5, 300<<10), "five": random(6, 100<<10)})
		},
		func() (err error) { second, err = w.backup(f, "home", arn); return err },
		func() error { return w.restore(f, second) },
		func() error { return w.vault(f, "other") },
		func() (err error) { third, err = w.backup(f, "other", arn); return err },
		func() error { return w.delete(f, "other", third) },
		func() error { return w.deleteVault(f, "other") },
		func() error { return w.refused(f, "home", first, 0) },
		func() error { return w.refused(f, "home", first, 1) }, // after it was accepted
		func() error { return w.delete(f, "home", first) },
		func() error { return w.reclaim(f, "home") },
		func() error { return w.change(map[string]string{"a/one": "changed again", "six": random(7, 200<<10)}) },
		func() error { _, err := w.backup(f, "home", arn); return err },
		func() (err error) { group, err = w.group(f, "all", "home"); return err },
		func() error { _, err := w.backup(f, "home", group); return err },
		func() error { return w.reclaim(f, "home") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) group(f *fixture, name string, members ...string) (arn string, err error) {
	out, err := restjson.Call(f.Context(), f.own, lockfastapi.RegisterResource,
		&lockfastapi.RegisterResourceInput{Name: &name, Members: members, Type: "CloudFormation"})
	if err != nil {
		return "", err
	}
	return out.ResourceArn, nil
}

func (w *world) vault(f *fixture, name string) error {
	_, err := f.sdk.CreateBackupVault(f.Context(), &backup.CreateBackupVaultInput{BackupVaultName: &name})
	if err == nil {
		w.told(func(p *promises) { p.vaults[name] = true })
	}
	return err
}

func (w *world) deleteVault(f *fixture, name string) error {
	w.told(func(p *promises) { delete(p.vaults, name) })
	_, err := f.sdk.DeleteBackupVault(f.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: &name})
	if err == nil {
		w.told(func(p *promises) { p.vaults[name] = false })
	}
	return err
}

// change begins a generation of home, and keeps a copy of it.
func (w *world) change(files map[string]string) error {
	write(w.t, w.home, files)
	generation := len(w.trees)
	if err := duplicate(w.home, fmt.Sprintf("%s.%d", w.home, generation)); err != nil {
		return err
	}
	w.trees = append(w.trees, tree(w.t, w.home))
	w.told(func(p *promises) { p.generation = generation })
	return nil
}

// duplicate copies a directory with its times.
func duplicate(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(to+strings.TrimPrefix(path, from), info.ModTime(), info.ModTime())
	})
}

func (w *world) backup(f *fixture, vault, arn string) (point string, err error) {
	out, err := f.sdk.StartBackupJob(f.Context(), &backup.StartBackupJobInput{
		BackupVaultName: &vault, ResourceArn: &arn, IamRoleArn: aws.String(role)})
	if err != nil {
		return "", err
	}
	id, point := *out.BackupJobId, *out.RecoveryPointArn
	w.told(func(p *promises) { p.jobs[id] = point; w.points[point] = p.generation })
	err = w.until(func() (bool, error) {
		j, err := f.sdk.DescribeBackupJob(f.Context(), &backup.DescribeBackupJobInput{BackupJobId: &id})
		if err == nil && j.CompletionDate != nil && j.State != types.BackupJobStateCompleted {
			err = fmt.Errorf("backup job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
		}
		return err == nil && j.State == types.BackupJobStateCompleted, err
	})
	if err == nil {
		w.told(func(p *promises) { p.completed[point] = true })
	}
	return point, err
}

func (w *world) restore(f *fixture, point string) error {
	out, err := restjson.Call(f.Context(), f.own, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{
		RecoveryPointArn: point, Directory: filepath.Join(w.out, "restored")})
	if err != nil {
		return err
	}
	w.told(func(p *promises) { p.restores[out.RestoreJobId] = true })
	return w.until(func() (bool, error) {
		j, err := f.sdk.DescribeRestoreJob(f.Context(), &backup.DescribeRestoreJobInput{RestoreJobId: &out.RestoreJobId})
		return err == nil && j.CompletionDate != nil, err
	})
}

// refused asks to delete a recovery point whose role does not allow it, or does so only for some questions more.
func (w *world) refused(f *fixture, vault, point string, grace int) error {
	w.roles.take(false, "elasticfilesystem:Backup", grace)
	defer w.roles.take(false, "", 0)
	w.told(func(p *promises) { delete(p.completed, point); delete(p.expired, point); p.unwanted[point] = true })
	if err := f.delete(vault, point); err != nil {
		return err
	}
	err := w.until(func() (bool, error) {
		v, err := f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
			BackupVaultName: &vault, RecoveryPointArn: &point})
		return err == nil && v.Status == types.RecoveryPointStatusExpired, err
	})
	if err == nil {
		w.told(func(p *promises) { p.expired[point] = true })
	}
	return err
}

func (w *world) delete(f *fixture, vault, point string) error {
	w.told(func(p *promises) { delete(p.completed, point); delete(p.expired, point); p.unwanted[point] = true })
	_, err := f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: &vault, RecoveryPointArn: &point})
	if err != nil {
		return err
	}
	w.told(func(p *promises) { p.deleted[point] = true })
	return w.until(func() (bool, error) {
		v, err := f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
			BackupVaultName: &vault, RecoveryPointArn: &point})
		if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
			return true, nil
		}
		if err == nil && v.Status != types.RecoveryPointStatusDeleting {
			err = fmt.Errorf("recovery point is %s although its deletion was accepted", v.Status)
		}
		return false, err
	})
}

func (w *world) reclaim(f *fixture, vault string) error {
	out, err := restjson.Call(f.Context(), f.own, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: vault})
	if err != nil {
		return err
	}
	return w.until(func() (bool, error) {
		t, err := restjson.Call(f.Context(), f.own, lockfastapi.DescribeTask, &lockfastapi.DescribeTaskInput{TaskId: out.TaskId})
		if err == nil && t.State == lockfastapi.TaskStateFailed {
			err = fmt.Errorf("reclaim failed: %s", aws.ToString(t.StatusMessage))
		}
		return err == nil && t.State == lockfastapi.TaskStateCompleted, err
	})
}

// until waits for something, but not long after the fault.
func (w *world) until(holds func() (bool, error)) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		if at := w.broken.Load(); time.Now().After(deadline) || at != nil && time.Since(*at) > time.Second {
			return errors.New("it does not happen")
		}
	}
}

// cut is a moment at which the power is cut, and what that does to the disk.
type cut struct {
	number, image, step int
	at                  string
	variant             crashfs.Variant
}

func (c cut) String() string {
	return fmt.Sprintf("%d %s %d, disk %d, data %d, names %d", c.number, c.at, c.image, c.step, c.variant.Data, c.variant.Names)
}

// cuts returns all of them in their order: at each boundary, and at each step of the disk until the next one.
func (w *world) cuts(seed uint64) (all []cut) {
	variants := crashfs.Variants(seed)
	for i, now := range w.images {
		next := w.disk.Len()
		if i+1 < len(w.images) {
			next = max(now.step, w.images[i+1].step-1)
		}
		for step := now.step; step <= next; step++ {
			n := len(all)
			all = append(all, cut{n, i, step, now.at, variants[(n+int(seed%10))%len(variants)]})
		}
	}
	return all
}

// elsewhere is a driver for a resource that is found at another path, and restores to another path.
type elsewhere struct {
	resource.Driver
	home string
	from string // prefix of directories restored to
	to   string
}

func (e elsewhere) Capture(ctx context.Context, c resource.Capture) (resource.Report, error) {
	c.Resource.Address = maps.Clone(c.Resource.Address)
	c.Resource.Address["path"] = e.home
	return e.Driver.Capture(ctx, c)
}

func (e elsewhere) Restore(ctx context.Context, r resource.Restore) (resource.Outcome, error) {
	if rest, ok := strings.CutPrefix(r.Into, e.from); ok {
		r.Into = e.to + rest
	}
	return e.Driver.Restore(ctx, r)
}
