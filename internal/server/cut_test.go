package server_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
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

	"github.com/lockfast/lockfast/blob/fs/crashfs"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
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
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("LOCKFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
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

// world is what is recorded of a story.
type world struct {
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

	armed atomic.Bool
	gate  sync.RWMutex // held for writing while an image is made; changes of the disk wait for it

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
	restores   map[string]bool   // restore jobs
}

func newPromises() promises {
	return promises{vaults: map[string]bool{}, jobs: map[string]string{}, completed: map[string]bool{},
		unwanted: map[string]bool{}, deleted: map[string]bool{}, restores: map[string]bool{}}
}

func (p promises) clone() promises {
	return promises{p.generation, maps.Clone(p.vaults), maps.Clone(p.jobs), maps.Clone(p.completed),
		maps.Clone(p.unwanted), maps.Clone(p.deleted), maps.Clone(p.restores)}
}

// record tells the story.
func record(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), home: filepath.Join(t.TempDir(), "home"), out: t.TempDir(), disk: crashfs.New(),
		points: map[string]int{}, promises: newPromises()}
	w.disk.Fail(func(string, string) error {
		w.gate.RLock()
		defer w.gate.RUnlock()
		return nil
	})
	f := start(t, server.WithCuts(options(t, w.dir), w.hook, w.disk))
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "meta.db")+"?_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if w.db, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.armed.Store(true)
	w.story(f)
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

func (w *world) story(f *fixture) {
	w.vault(f, "home")
	w.change(f, map[string]string{"a/one": "1", "a/b/two": strings.Repeat("two\n", 20_000), "three": "",
		"four": random(4, 300<<10), "same": random(1, 40<<10)})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: w.home, Type: "EFS"}).ResourceArn
	first := w.backup(f, "home", arn)
	w.change(f, map[string]string{"a/one": "changed", "four": random(5, 300<<10), "five": random(6, 100<<10)})
	second := w.backup(f, "home", arn)
	w.restore(f, second)
	w.vault(f, "other")
	w.delete(f, "other", w.backup(f, "other", arn))
	w.told(func(p *promises) { delete(p.vaults, "other") })
	must(f.sdk.DeleteBackupVault(f.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("other")}))(f)
	w.told(func(p *promises) { p.vaults["other"] = false })
	w.delete(f, "home", first)
	f.reclaim("home")
	w.change(f, map[string]string{"a/one": "changed again", "six": random(7, 200<<10)})
	w.backup(f, "home", arn)
	f.reclaim("home")
}

func (w *world) vault(f *fixture, name string) {
	f.vault(name)
	w.told(func(p *promises) { p.vaults[name] = true })
}

// change begins a generation of home, and keeps a copy of it.
func (w *world) change(f *fixture, files map[string]string) {
	f.Helper()
	write(f, w.home, files)
	generation := len(w.trees)
	if out, err := exec.Command("cp", "-a", w.home, fmt.Sprintf("%s.%d", w.home, generation)).CombinedOutput(); err != nil {
		f.Fatalf("cp: %v: %s", err, out)
	}
	w.trees = append(w.trees, tree(f, w.home))
	w.told(func(p *promises) { p.generation = generation })
}

func (w *world) backup(f *fixture, vault, arn string) (point string) {
	f.Helper()
	id, point := f.startBackup(vault, arn)
	w.told(func(p *promises) { p.jobs[id] = point; w.points[point] = p.generation })
	f.awaitBackup(id)
	w.told(func(p *promises) { p.completed[point] = true })
	return point
}

func (w *world) restore(f *fixture, point string) {
	f.Helper()
	id := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point,
		Directory: filepath.Join(w.out, "restored")}).RestoreJobId
	w.told(func(p *promises) { p.restores[id] = true })
	f.awaitRestore(id)
}

func (w *world) delete(f *fixture, vault, point string) {
	f.Helper()
	w.told(func(p *promises) { delete(p.completed, point); p.unwanted[point] = true })
	must(f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: &vault, RecoveryPointArn: &point}))(f)
	w.told(func(p *promises) { p.deleted[point] = true })
	f.gone(vault, point)
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

// spread chooses n of a list, evenly spread but not the same each time.
func spread[T any](all []T, n int, seed uint64) (some []T) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range min(n, len(all)) {
		from, to := i*len(all)/n, (i+1)*len(all)/n
		some = append(some, all[from+rng.IntN(max(1, to-from))])
	}
	return some
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
