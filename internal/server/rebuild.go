package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// RebuildOptions says from what and into what a database is rebuilt.
type RebuildOptions struct {
	Config   Config // checked; its store is the one to read
	Key      string // file of the root key
	Log      *slog.Logger
	Progress func(vault string, points int) // may be nil
	hook     func(point string) error
	system   fs.System // see [Options]
}

// RebuildReport says what a rebuild found, and what it could not bring back.
type RebuildReport struct {
	Vaults         int           `json:"vaults"`
	RecoveryPoints int           `json:"recovery_points"`
	Resources      int           `json:"resources"`
	Keys           int           `json:"keys"`
	Objects        int           `json:"objects"`
	Took           time.Duration `json:"-"`
	Foreign        []string      `json:"foreign,omitempty"`     // names that are none of ours; they are left alone
	Damaged        []string      `json:"damaged,omitempty"`     // what cannot be read, wholly or in part
	Unreadable     []string      `json:"unreadable,omitempty"`  // vaults of which the keys were destroyed
	Assumed        []string      `json:"assumed,omitempty"`     // what the store does not say, and what was taken for it
	NotRebuilt     []string      `json:"not_rebuilt,omitempty"` // what no store holds
}

// notRebuilt is what the store does not hold.
var notRebuilt = []string{
	"users, groups, roles and policies but the administrator and the default role of each account, and all access keys",
	"jobs, restores, tasks, events and the log of API calls",
	"policies, aliases, descriptions and tags of KMS keys, keys that no vault hangs on, and versions that no vault's key is wrapped by",
	"settings, and resources of which there is no recovery point",
}

// Rebuild makes a new database from a store alone, for when the old one is lost. The database, and the data directory but
// for a configuration file and the root key, must be empty; after an interruption it may be repeated. It claims every vault,
// so that a server that still has the old database can change nothing any more.
func Rebuild(ctx context.Context, o RebuildOptions) (report RebuildReport, err error) {
	start := time.Now()
	r := &rebuild{o: o, p: &parts{o: Options{Config: o.Config, Log: o.Log, Now: time.Now, Private: true, hook: o.hook}, metrics: newRegistry()}}
	dir, err := LockDirectory(o.Config.Data)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.p.close(), dir.Close()) }()
	for _, step := range []func(context.Context) error{r.openKey, r.checkDirectory, r.openStore, r.readVaults, r.openDatabase,
		r.claim, r.restore, r.configure} {
		if err := step(ctx); err != nil {
			return report, fmt.Errorf("rebuild from %s: %w", r.place(), err)
		}
	}
	r.report.NotRebuilt, r.report.Took = notRebuilt, time.Since(start)
	return r.report, nil
}

// rebuild is one run.
type rebuild struct {
	o      RebuildOptions
	p      *parts
	vaults []*lostVault
	report RebuildReport
}

// lostVault is a vault that the store holds.
type lostVault struct {
	id       string
	store    blob.Store
	keys     []repo.WrappingKey
	record   repo.VaultRecord
	domain   [32]byte // chunk-id domain of its account
	highest  uint64   // generation of its state
	written  bool     // the record is what the store says
	identity [16]byte
}

func (r *rebuild) place() string { return r.o.Config.Store }

// openKey reads the key and puts a copy where the server looks for it.
func (r *rebuild) openKey(ctx context.Context) error {
	f, err := r.o.Config.RootKeyFile()
	if err != nil {
		return err
	}
	r.p.keyFile = f
	given := f
	given.Path = r.o.Key
	if r.p.root, err = given.Open(ctx); err != nil {
		return err
	}
	file := r.o.Config.KeyFile
	there, err := f.Open(ctx)
	if err == nil && there.KeyID() != r.p.root.KeyID() {
		return fmt.Errorf("%s is another root key than %s", file, r.o.Key)
	}
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := os.ReadFile(r.o.Key)
	if err != nil {
		return err
	}
	return writeFile(file, text)
}

// checkDirectory refuses a data directory that has been used for something.
func (r *rebuild) checkDirectory(context.Context) error {
	entries, err := os.ReadDir(r.o.Config.Data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(r.o.Config.Data, e.Name())
		known := path == r.o.Config.Store || path == r.o.Config.KeyFile || slices.Contains([]string{"lock", "lockfast.yaml", "meta.db",
			"meta.db-wal", "meta.db-shm", "meta.db.lock", "meta.db.reserve", "credentials", "tmp"}, e.Name())
		if !known {
			return fmt.Errorf("data directory %s is not empty: there is %s; choose another one with --data", r.o.Config.Data, e.Name())
		}
	}
	return nil
}

// openStore opens the store for the claims.
func (r *rebuild) openStore(ctx context.Context) (err error) {
	if r.p.blobs, err = OpenBlobs(ctx, r.o.Config.Store, BlobsOptions{Cold: r.o.Config.ColdStore, System: r.o.system}); err != nil {
		return err
	}
	if one, err := repo.Exists(ctx, r.p.blobs); err != nil {
		return err
	} else if one {
		return errors.New("this is a single vault; give the store that it is in")
	}
	dirs, err := r.p.blobs.directories(ctx)
	if err != nil {
		return err
	}
	ids, err := r.p.blobs.Vaults(ctx)
	for _, dir := range dirs {
		if !slices.Contains(ids, dir) && !strings.HasPrefix(dir, ".") {
			r.report.Foreign = append(r.report.Foreign, dir)
		}
	}
	for _, id := range ids {
		sub := blob.Prefix(r.p.blobs, id)
		there, err := repo.Exists(ctx, sub)
		if err != nil {
			return err
		}
		if !there {
			r.report.Foreign = append(r.report.Foreign, id)
			continue
		}
		r.vaults = append(r.vaults, &lostVault{id: id, store: sub})
	}
	if err == nil && len(r.vaults) == 0 {
		err = errors.New("there is no vault")
	}
	return err
}

// readVaults reads what the vaults say of themselves. Nothing has been written yet, and nothing will be if one of them
// cannot be opened: what is left out of a database would be out of reach.
func (r *rebuild) readVaults(ctx context.Context) error {
	var readable []*lostVault
	for _, v := range r.vaults {
		var err error
		if !holdsAny(ctx, v.store, "k/", &err) {
			r.report.Unreadable = append(r.report.Unreadable, v.id)
			continue
		}
		if err == nil {
			err = r.readVault(ctx, v)
		}
		if err != nil {
			return fmt.Errorf("vault %s: %w", v.id, err)
		}
		readable = append(readable, v)
	}
	if r.vaults = readable; len(readable) == 0 {
		return errors.New("no vault can be read: the keys of all were destroyed")
	}
	r.tellApart()
	return nil
}

func holdsAny(ctx context.Context, s blob.Store, prefix string, err *error) bool {
	for _, failed := range s.List(ctx, prefix) {
		*err = failed
		return true
	}
	return false
}

func (r *rebuild) readVault(ctx context.Context, v *lostVault) error {
	open, err := repo.OpenBare(ctx, v.store, r.p.root, repo.Options{Log: r.o.Log})
	if err != nil {
		return err
	}
	found, err := open.VaultState(ctx)
	if err != nil {
		return errors.Join(err, open.Close())
	}
	v.keys, v.domain, v.highest = open.WrappingKeys(), open.DomainKey(), found.Highest
	r.damaged(v.id, append(found.Damage, open.OpeningDamage()...)...)
	if v.written = found.State != nil && len(found.Damage) == 0; found.State != nil {
		v.record = *found.State
		return open.Close()
	}
	v.record = repo.VaultRecord{Name: "rebuilt-" + v.id[:8], Account: r.o.Config.Account, Region: r.o.Config.Region, Created: time.Now().UTC().Truncate(time.Second)}
	for _, k := range v.keys {
		if len(k.Links) != 1 {
			continue
		}
		if n, _, err := keys.ParseLink(k.Links[0]); err == nil {
			v.record.Account, v.record.Region, v.record.KeyARN = n.Account, n.Region, n.ARN()
		}
	}
	r.assume("vault %s: its state is not in the store; it is named %s in account %s", v.id, v.record.Name, v.record.Account)
	return open.Close()
}

// tellApart gives vaults of the same name other ones, but for the one that was made last: the others were deleted, and not
// all of their objects removed.
func (r *rebuild) tellApart() {
	slices.SortFunc(r.vaults, func(a, b *lostVault) int { return b.record.Created.Compare(a.record.Created) })
	taken := map[[3]string]bool{}
	for _, v := range r.vaults {
		name := [3]string{v.record.Account, v.record.Region, v.record.Name}
		if taken[name] {
			v.record.Name, v.written = fmt.Sprintf("%.41s-%s", v.record.Name, v.id[:8]), false
			r.assume("vault %s: another one is named %s; it is named %s", v.id, name[2], v.record.Name)
		}
		taken[name] = true
	}
}

func (r *rebuild) damaged(vault string, all ...error) {
	for _, err := range all {
		r.report.Damaged = append(r.report.Damaged, fmt.Sprintf("vault %s: %v", vault, err))
	}
}

func (r *rebuild) assume(format string, args ...any) {
	r.report.Assumed = append(r.report.Assumed, fmt.Sprintf(format, args...))
}

// openDatabase makes the tables and the accounts. A database in which anything else is, is refused.
func (r *rebuild) openDatabase(ctx context.Context) error {
	if err := r.p.openRecords(ctx); err != nil {
		return err
	}
	if err := r.p.makeStore(ctx); err != nil {
		return err
	}
	begun, err := r.p.ledgers.Rebuilding(ctx)
	if err != nil {
		return err
	}
	r.p.identities()
	empty, err := r.p.iam.Empty(ctx)
	if err != nil {
		return err
	}
	if !begun && !empty {
		return fmt.Errorf("database %s is not empty; choose another one with --metadata or --data", r.p.db)
	}
	if err := r.p.ledgers.BeginRebuild(ctx); err != nil {
		return err
	}
	if err := r.p.makeIdentity(ctx); err != nil {
		return err
	}
	for _, v := range r.vaults {
		admin, err := r.p.iam.EnsureAccount(ctx, v.record.Account)
		if err != nil {
			return err
		}
		if v.record.Account != r.o.Config.Account {
			err = AddCredentials(r.o.Config.Data, v.record.Account, AccessKey{ID: admin.AccessKeyID, Secret: admin.Secret})
		}
		if err != nil {
			return err
		}
	}
	return r.p.makeNouns(ctx)
}

// claim takes the vaults from whoever had them.
func (r *rebuild) claim(ctx context.Context) error {
	for _, v := range r.vaults {
		rand.Read(v.identity[:]) // never fails
		open, err := repo.OpenBare(ctx, v.store, r.p.root, repo.Options{Log: r.o.Log})
		if err == nil {
			err = errors.Join(open.Claim(ctx, v.identity), open.Close())
		}
		if err != nil {
			return fmt.Errorf("vault %s: %w", v.id, err)
		}
	}
	return nil
}

// restore fills the database, in one transaction: an interrupted rebuild leaves nothing of it.
func (r *rebuild) restore(ctx context.Context) error {
	report := r.report
	return r.p.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		r.report = report
		f := filling{rebuild: r, tx: tx, resources: map[[3]string]lostResource{}}
		for _, v := range r.vaults {
			if err := f.vault(ctx, v); err != nil {
				return fmt.Errorf("vault %s: %w", v.id, err)
			}
		}
		if err := f.declare(ctx); err != nil {
			return err
		}
		return r.p.ledgers.EndRebuildTx(ctx, tx)
	})
}

// configure notes where the store is, for the server that follows.
func (r *rebuild) configure(context.Context) error {
	c := r.o.Config
	file := filepath.Join(c.Data, "lockfast.yaml")
	if _, err := os.Stat(file); err == nil || c.Store == filepath.Join(c.Data, "store") {
		return nil
	}
	return writeFile(file, fmt.Appendf(nil, "store: %q\n", c.Store))
}
