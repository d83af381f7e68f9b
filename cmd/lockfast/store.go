package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/keys"
	work "github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
)

// storedLine is the JSON form of a recovery point as the store alone shows it.
type storedLine struct {
	Type             string    `json:"type"`
	Vault            string    `json:"vault"`
	Point            string    `json:"point"`
	RecoveryPointARN string    `json:"recovery_point_arn,omitempty"`
	Resource         string    `json:"resource"`
	Created          time.Time `json:"created"`
	Items            int64     `json:"items"`
	LogicalBytes     int64     `json:"logical_bytes"`
	Skipped          int64     `json:"skipped"`
	StorageClass     string    `json:"storage_class"`
}

// arnFact is the entry of a recovery point's facts that holds its ARN.
const arnFact = "recovery_point_arn"

func newStore(a *app) *cobra.Command {
	const about = "LOCATION is the directory of a store (DATA/store) or of one vault in it, or such a place in a bucket,\n" +
		"s3://BUCKET/PREFIX?endpoint=URL; FILE is a copy of DATA/root.key."
	var key, cold string
	list := &cobra.Command{
		Use:     "list LOCATION --key FILE",
		Short:   "List the recovery points in a store",
		Long:    "List the recovery points in a store.\n\n" + about,
		Example: "  lockfast store list /mnt/copy/store --key root.key",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.openStore(cmd.Context(), args[0], key, cold, func(s *store) error { return a.storeList(cmd.Context(), s) })
		},
	}
	level := 3
	verify := &cobra.Command{
		Use:     "verify LOCATION --key FILE",
		Short:   "Verify that every recovery point in a store can be read",
		Long:    "Verify a store; see `lockfast vault verify` for the levels.\n\n" + about,
		Example: "  lockfast store verify /mnt/copy/store --key root.key",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLevel(level); err != nil {
				return err
			}
			return a.openStore(cmd.Context(), args[0], key, cold, func(s *store) error {
				return a.storeVerify(cmd.Context(), s, level)
			})
		},
	}
	verify.Flags().IntVar(&level, "level", level, "how thorough to be, from 0 to 3")
	var to string
	var items []string
	var intact bool
	restore := &cobra.Command{
		Use:   "restore LOCATION POINT --to DIR --key FILE",
		Short: "Restore a recovery point straight from a store",
		Long: "Restore a recovery point straight from a store into DIR, which must be absent or empty. POINT is its ARN or the id " +
			"that `lockfast store list` shows. With --intact, what is whole of a damaged one is restored, and the rest is named.\n\n" + about,
		Example: "  lockfast store restore /mnt/copy/store POINT --to /srv/restored --key root.key",
		Args:    positional(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("store restore: --to DIR is missing")
			}
			return a.openStore(cmd.Context(), args[0], key, cold, func(s *store) error {
				return a.storeRestore(cmd.Context(), s, args[1], to, resource.Restore{Items: paths(items), Intact: intact})
			})
		},
	}
	restore.Flags().StringVar(&to, "to", "", "directory that receives the contents; absent or empty")
	restore.Flags().StringArrayVar(&items, "item", nil, "path of a file or directory inside the recovery point; repeatable")
	restore.Flags().BoolVar(&intact, "intact", false, "restore what is whole of a damaged recovery point, and name the rest")
	cmd := group("store", "Read or repair a store with no server and no database, or rebuild the database from it",
		"  lockfast store list /mnt/copy/store --key root.key", list, verify, restore, newStoreRepair(a, &key, &cold, about),
		newStoreRebuild(a, &key, &cold))
	cmd.PersistentFlags().StringVar(&key, "key", "", "file of the root key")
	cmd.PersistentFlags().StringVar(&cold, "cold-store", "", "location of cold packs, if they are elsewhere (the server's cold_store)")
	return cmd
}

// paths makes paths of arguments.
func paths(args []string) (out [][]byte) {
	for _, arg := range args {
		out = append(out, []byte(arg))
	}
	return out
}

// store is one or more vaults, opened from their objects alone.
type store struct {
	location string
	names    []string // of the vaults: their UUIDs, or the location of a single one
	vaults   []*repo.Vault
	keyless  []string // places of vaults without any key object, which are not opened
	damaged  bool     // something, which was reported, cannot be read and is left out
}

// complete is an error if something was left out that cannot be read.
func (s *store) complete() error {
	if s.damaged {
		return errReported
	}
	return nil
}

// noteKeyless says which vaults have no key object.
func (a *app) noteKeyless(s *store) {
	for _, place := range s.keyless {
		a.out.note("%v", noKeys(place))
	}
}

// failKeyless is noteKeyless where a vault that cannot be read must not pass for a sound one.
func (a *app) failKeyless(s *store) {
	for _, place := range s.keyless {
		a.out.fail(noKeys(place))
		s.damaged = true
	}
}

func noKeys(place string) error {
	return fmt.Errorf("vault %s: there is no key object under k/: its keys were destroyed or are lost, nothing in it can be read", place)
}

// openStore opens the vaults at a location, runs fn, and closes them. A vault without keys is left out and
// for fn to name; one that cannot be opened is named and left out, unless no other can, which [store.complete] tells.
func (a *app) openStore(ctx context.Context, location, key, cold string, fn func(*store) error) error {
	open := func(ctx context.Context, s blob.Store, root *keys.Root, o repo.Options) (*repo.Vault, error) {
		return repo.OpenReadOnly(ctx, s, root, o)
	}
	return a.openStoreBy(ctx, location, key, cold, true, open, fn)
}

// openStoreBy is openStore with a way to open vaults.
func (a *app) openStoreBy(ctx context.Context, location, key, cold string, readOnly bool,
	open func(context.Context, blob.Store, *keys.Root, repo.Options) (*repo.Vault, error), fn func(*store) error) (err error) {
	if key == "" {
		return usagef("--key FILE is missing: a copy of the server's DATA/root.key")
	}
	root, err := keys.Open(key)
	if err != nil {
		return err
	}
	blobs, err := server.OpenBlobs(ctx, location, server.BlobsOptions{Cold: cold, ReadOnly: readOnly})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	s := &store{location: blobs.Place("")}
	if s.names, err = vaultPrefixes(ctx, blobs); err != nil {
		return fmt.Errorf("read store %s: %w", s.location, err)
	}
	if len(s.names) == 0 {
		return fmt.Errorf("no vault at %s", s.location)
	}
	s.names = slices.DeleteFunc(s.names, func(name string) bool {
		if err != nil || holdsKeys(ctx, blobs, name, &err) {
			return false
		}
		s.keyless = append(s.keyless, blobs.Place(name))
		return true
	})
	if err == nil && len(s.names) == 0 {
		a.failKeyless(s)
		err = errReported
	}
	if err != nil {
		return err
	}
	var opened []string
	var failed []error
	for _, name := range s.names {
		v, openErr := open(ctx, blob.Prefix(blobs, name), root, server.RepoOptions(location))
		if openErr != nil {
			failed = append(failed, fmt.Errorf("open vault %s: %w", blobs.Place(name), openErr))
			continue
		}
		defer func() { err = errors.Join(err, v.Close()) }()
		s.vaults, opened = append(s.vaults, v), append(opened, name)
	}
	if len(opened) == 0 || ctx.Err() != nil {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		a.out.fail(err)
	}
	s.names, s.damaged = opened, len(failed) > 0
	return fn(s)
}

// vaultPrefixes finds the vaults in a store: a directory each, named by a UUID, or the store itself as "".
func vaultPrefixes(ctx context.Context, blobs *server.Blobs) ([]string, error) {
	if ok, err := holdsVault(ctx, blobs, ""); ok || err != nil {
		return []string{""}, err
	}
	ids, err := blobs.Vaults(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range ids {
		ok, err := holdsVault(ctx, blobs, id+"/")
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, id)
		}
	}
	return names, nil
}

// holdsVault reports whether there is a vault below a prefix.
func holdsVault(ctx context.Context, blobs blob.Store, prefix string) (bool, error) {
	return repo.Exists(ctx, blob.Prefix(blobs, strings.TrimSuffix(prefix, "/")))
}

// holdsKeys reports whether the vault below a prefix still has a key object.
func holdsKeys(ctx context.Context, blobs blob.Store, name string, err *error) bool {
	for _, failed := range blob.Prefix(blobs, name).List(ctx, "k/") {
		*err = failed
		return true
	}
	return false
}

func (a *app) storeList(ctx context.Context, s *store) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "CREATED\tCLASS\tITEMS\tLOGICAL\tVAULT\tRESOURCE\tPOINT")
	}
	err := s.points(ctx, func(vault string, p *repo.Point) error {
		facts, stats, class := p.Facts(), p.Stats(), "WARM"
		if p.Cold() {
			class = "COLD"
		}
		if a.out.json {
			return a.out.line(storedLine{Type: "result", Vault: vault, Point: string(p.ID()), Resource: facts.Resource,
				RecoveryPointARN: facts.Metadata[arnFact], Created: facts.Created.UTC(), Items: stats.Entries,
				LogicalBytes: stats.LogicalBytes, Skipped: int64(len(facts.Skipped)) + facts.SkippedMore, StorageClass: class})
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", local(facts.Created), class, stats.Entries,
			size(stats.LogicalBytes), vault, facts.Resource, p.ID())
		return err
	}, func(u unreadable) error {
		s.damaged = true
		return a.printUnreadable(u)
	})
	if err = errors.Join(err, table.Flush()); err != nil {
		return err
	}
	a.noteObserved(s)
	a.noteKeyless(s)
	return errors.Join(a.noteIncomplete(ctx, s), s.complete())
}

// noteObserved says what is damaged of which the recovery points could be listed all the same.
func (a *app) noteObserved(s *store) {
	for i, v := range s.vaults {
		for _, d := range v.Observed() {
			a.out.note("vault %s: %s is damaged; `lockfast store verify` says what that affects", s.names[i], d.Object)
		}
	}
}

// noteIncomplete says how many recovery points are not shown because not all of their objects are there.
func (a *app) noteIncomplete(ctx context.Context, s *store) error {
	for i, v := range s.vaults {
		ids, err := v.IncompletePoints(ctx)
		if err != nil {
			return fmt.Errorf("list recovery points of %s: %w", s.names[i], err)
		}
		if len(ids) > 0 {
			a.out.note("vault %s: not shown: %d recovery points of which not all objects are there; those in cold storage elsewhere need --cold-store",
				s.names[i], len(ids))
		}
	}
	return nil
}

// unreadable is a recovery point that is damaged so that nothing can be said of it, or with no id all of a vault.
type unreadable struct {
	vault string
	point repo.PointID
	err   error
}

// printUnreadable names what cannot be read.
func (a *app) printUnreadable(u unreadable) error {
	if a.out.json {
		return a.out.line(errorLine{Type: "error", Message: u.err.Error(), Vault: u.vault, Point: string(u.point)})
	}
	a.out.fail(fmt.Errorf("vault %s: %w", u.vault, u.err))
	return nil
}

// points calls fn with every recovery point of every vault that can be read, and damaged with the others.
func (s *store) points(ctx context.Context, fn func(vault string, p *repo.Point) error, damaged func(unreadable) error) error {
	for i, v := range s.vaults {
		ids, err := v.PointIDs(ctx)
		if isDamage(err) {
			err = damaged(unreadable{vault: s.names[i], err: fmt.Errorf("list recovery points: %w", err)})
		} else if err != nil {
			err = fmt.Errorf("list recovery points of %s: %w", s.names[i], err)
		}
		if err != nil {
			return err
		}
		for _, id := range ids {
			p, err := v.OpenPoint(ctx, id)
			if errors.Is(err, repo.ErrNotFound) {
				continue // it was deleted meanwhile
			}
			if isDamage(err) {
				if err := damaged(unreadable{s.names[i], id, err}); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("open recovery point %s: %w", id, err)
			}
			if err := errors.Join(fn(s.names[i], p), p.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// isDamage reports whether an error is about objects of the store, not about reaching it.
func isDamage(err error) bool {
	return errors.Is(err, repo.ErrDamaged) || errors.Is(err, repo.ErrFormat)
}

func (a *app) storeVerify(ctx context.Context, s *store, level int) error {
	a.failKeyless(s)
	all := s.complete()
	for i, v := range s.vaults {
		bar := a.out.progress("verify "+s.names[i], true)
		report, err := v.Check(ctx, repo.CheckOptions{Level: level,
			Progress: func(done, total int64) { bar.update(0, done, total) }})
		bar.finish()
		if err != nil {
			return fmt.Errorf("verify %s: %w", s.names[i], err)
		}
		for _, d := range report.Damages {
			a.out.fail(fmt.Errorf("vault %s: %s: %w (affects %d recovery points)", s.names[i], d.Object, d.Err, len(d.Points)))
			all = errReported
		}
		for _, p := range report.DamagedPoints {
			a.out.fail(fmt.Errorf("vault %s: %s", s.names[i], work.Missing(string(p.ID), p, maxMissing)))
			all = errReported
		}
		if len(report.Damages) > 0 {
			continue
		}
		if a.out.json {
			err = a.out.line(taskLine{Type: "result", Vault: s.names[i], Task: "verify", Report: map[string]any{
				"level": report.Level, "recovery_points": report.Points, "packs": report.Packs, "bytes": report.Bytes,
				"packs_read": report.PacksRead, "bytes_read": report.BytesRead,
				"packs_checksum": report.PacksSummed, "bytes_checksum": report.BytesSummed}})
		} else {
			err = a.sound(s.names[i], report)
		}
		if err != nil {
			return err
		}
	}
	return all
}

// maxMissing is how many paths of a damaged recovery point are named.
const maxMissing = 100

// errFound ends a search.
var errFound = errors.New("found")

func (a *app) storeRestore(ctx context.Context, s *store, wanted, to string, order resource.Restore) error {
	dir, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	var outcome resource.Outcome
	var damaged []unreadable
	err = s.points(ctx, func(_ string, p *repo.Point) error {
		facts := p.Facts()
		if wanted != string(p.ID()) && (wanted == "" || wanted != facts.Metadata[arnFact]) {
			return nil
		}
		if facts.Driver != directory.Name {
			return fmt.Errorf("recovery point %s is of a type that this program does not restore: %s", wanted, facts.Driver)
		}
		bar := a.out.progress(dir, true)
		defer bar.finish()
		order.Point, order.Source, order.Into = p, resource.Resource{ARN: facts.Resource, Type: "EFS"}, dir
		order.Progress = func(n resource.Progress) { bar.update(n.Items, n.Bytes, n.TotalBytes) }
		if outcome, err = directory.New(directory.Options{}).Restore(ctx, order); err != nil {
			return fmt.Errorf("restore to %s: %w", dir, err)
		}
		return errFound
	}, func(u unreadable) error {
		if damaged = append(damaged, u); wanted == string(u.point) {
			return fmt.Errorf("vault %s: %w", u.vault, u.err)
		}
		return nil
	})
	switch {
	case err == nil:
		for _, u := range damaged { // one of them may be it
			if err := a.printUnreadable(u); err != nil {
				return err
			}
		}
		if err := a.noteIncomplete(ctx, s); err != nil {
			return err
		}
		a.noteKeyless(s)
		return fmt.Errorf("no recovery point %s at %s; `lockfast store list` shows those there are", wanted, s.location)
	case !errors.Is(err, errFound):
		return err
	}
	return a.printOutcome(wanted, dir, outcome)
}

func (a *app) printOutcome(point, dir string, o resource.Outcome) error {
	skipped := int64(len(o.Skipped)+len(o.Missing)) + o.SkippedMore
	if a.out.json {
		err := a.out.line(restoreResult{Type: "result", RecoveryPointARN: point, Path: dir, Items: o.Items, Bytes: o.Bytes,
			Skipped: skipped})
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out.stdout, "%s: %d items, %s\n", dir, o.Items, size(o.Bytes))
	}
	for _, s := range o.Skipped {
		a.out.skipped(directory.Display(s.Path), s.Reason)
	}
	for _, m := range o.Missing {
		a.out.skipped(directory.Display(m), "not in the recovery point")
	}
	if skipped > 0 {
		return errSkipped
	}
	return nil
}
