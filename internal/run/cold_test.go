package run_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

const agingARN = "arn:aws:backup:eu-west-1:123456789012:recovery-point:00000000-0000-4000-8000-000000000001"

// brittle is a store in which some changes fail.
type brittle struct {
	blob.Store
	mu     sync.Mutex
	put    string // part of the names that cannot be put; guarded by mu
	remove string // or removed; guarded by mu

	listing func() // called once, when a vault is listed whole; nil for nothing
}

var errBrittle = errors.New("the store is broken")

func (b *brittle) breaks(put, remove string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put, b.remove = put, remove
}

func (b *brittle) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.put != "" && strings.Contains(string(name), b.put) {
		return errBrittle
	}
	return b.Store.Put(ctx, name, r, size)
}

func (b *brittle) Delete(ctx context.Context, name blob.Name) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.remove != "" && strings.Contains(string(name), b.remove) {
		return errBrittle
	}
	return b.Store.Delete(ctx, name)
}

func (b *brittle) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if meanwhile := b.listing; meanwhile != nil && strings.HasSuffix(prefix, "/") {
		b.listing = nil
		meanwhile()
	}
	return b.Store.List(ctx, prefix)
}

// coldKit is a vault with a recovery point whose move to cold storage is due.
type coldKit struct {
	*testing.T
	ctx    context.Context
	db     *meta.DB
	blobs  *brittle
	vaults *vault.Service
	store  *run.Store
	colder *run.Colder
	id     string // UUID of the vault
	data   []byte
}

func aging(t *testing.T, test func(k *coldKit)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, vault.Migrations(), events.Migrations(), ledger.Migrations())
		root, err := keys.Create(t.TempDir() + "/root.key")
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		k := &coldKit{T: t, db: db, blobs: &brittle{Store: mem.New()}, data: bytes.Repeat([]byte("data"), 500),
			ctx: caller.With(t.Context(), caller.Caller{Account: account, Region: region})}
		ledgers := ledger.New(db, ledger.Options{})
		k.store = run.NewStore(run.StoreOptions{Blobs: func() (blob.Store, error) { return k.blobs, nil }, DB: db, Ledgers: ledgers,
			Keys: root, Domain: func(context.Context, string) ([32]byte, error) { return [32]byte{1}, nil },
			Repo: repo.Options{TempDir: t.TempDir()}, Log: log})
		o, later := &others{}, func() time.Time { return time.Now().Add(25 * time.Hour) }
		k.vaults = vault.New(vault.Options{DB: db, Tags: o, Protected: o, Restores: o, Store: k.store, Authority: o, Now: later,
			Events: events.New(events.Options{DB: db})})
		k.colder = &run.Colder{DB: db, Vaults: k.vaults, Ledgers: ledgers, Store: k.store, Log: log, Moved: func(string) {}}
		k.add()
		test(k)
	})
}

func (k *coldKit) try(errs ...error) {
	k.Helper()
	if err := errors.Join(errs...); err != nil {
		k.Fatal(err)
	}
}

func (k *coldKit) update(fn func(context.Context, *meta.Tx) error) {
	k.Helper()
	k.try(k.db.Update(k.ctx, fn))
}

// add makes the vault and its recovery point, a day ago.
func (k *coldKit) add() {
	k.Helper()
	_, err := k.vaults.CreateBackupVault(k.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "home"})
	k.try(err)
	k.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		k.id, err = k.vaults.VaultUUIDTx(ctx, tx, account, region, "home")
		return err
	})
	k.point(agingARN)
}

// point makes a recovery point.
func (k *coldKit) point(arn string) {
	k.Helper()
	v, err := k.store.Vault(k.ctx, k.id, account)
	k.try(err)
	w, err := v.NewWriter(k.ctx, repo.WriterOptions{})
	k.try(err)
	c, err := w.Small(k.ctx, k.data)
	k.try(err, w.Tree().Put(k.ctx, repo.Entry{Key: []byte("file"), Content: c}))
	p, err := w.Prepare(k.ctx, repo.Facts{})
	k.try(err)
	k.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := k.vaults.CreatePointTx(ctx, tx, vault.NewPoint{VaultUUID: k.id, ARN: arn, ResourceARN: "arn:aws:s3:::docs",
			ResourceType: "EFS", CreatedAt: time.Now(), ColdAfterDays: 1})
		if err == nil {
			err = k.vaults.CompletePointTx(ctx, tx, k.id, arn, vault.Completion{StoreID: string(p.Point)})
		}
		return errors.Join(err, k.colder.Ledgers.CommitTx(ctx, tx, k.id, p))
	})
	k.try(w.Abort(k.ctx))
}

// wants expects the recovery point in a storage class, whole, and no other one in the store.
func (k *coldKit) wants(cold bool) {
	k.Helper()
	p, err := k.vaults.Point(k.ctx, k.id, agingARN)
	k.try(err)
	v, err := k.store.Vault(k.ctx, k.id, account)
	k.try(err)
	r, err := v.OpenPoint(k.ctx, repo.PointID(p.StoreID))
	k.try(err)
	defer r.Close()
	e, err := r.Lookup(k.ctx, []byte("file"))
	k.try(err)
	got, err := io.ReadAll(r.Reader(k.ctx, e.Content))
	if err != nil || !bytes.Equal(got, k.data) || r.Cold() != cold || p.ColdSince.IsZero() == cold {
		k.Errorf("recovery point is cold since %s, in the store %v; its content has %d bytes, %v", p.ColdSince, r.Cold(), len(got), err)
	}
	if ids, err := v.PointIDs(k.ctx); err != nil || len(ids) != 1 {
		k.Errorf("the store has the recovery points %v, %v, want one", ids, err)
	}
}

// retry has a failed move tried again at once.
func (k *coldKit) retry() {
	k.Helper()
	k.update(func(ctx context.Context, tx *meta.Tx) error {
		res, err := tx.Exec(ctx, "UPDATE recovery_point SET cold_until = 0 WHERE cold_until > 0 AND cold_claim = '' AND cold_tries > 0")
		k.try(err)
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			k.Errorf("%d moves wait for another try, %v, want one", n, err)
		}
		return nil
	})
}

func TestColder_TriesAgainWhatFailed(t *testing.T) {
	aging(t, func(k *coldKit) {
		for _, broken := range []string{"format.3", "/a/", "/x/", "/f/", "/r/"} {
			k.blobs.breaks(broken, "")
			k.try(k.colder.Sweep(k.ctx))
			k.wants(false)
			k.blobs.breaks("", "")
			k.try(k.colder.Sweep(k.ctx)) // too early
			k.wants(false)
			k.retry()
		}
		k.try(k.colder.Sweep(k.ctx))
		k.wants(true)
	})
}

func TestColder_RemovesWhatItLeftBehind(t *testing.T) {
	aging(t, func(k *coldKit) {
		k.blobs.breaks("", "/r/")
		k.try(k.colder.Sweep(k.ctx))
		k.wants(true)
		if left, err := k.vaults.Moved(k.ctx); err != nil || len(left) != 1 {
			t.Fatalf("Moved = %v, %v, want one", left, err)
		}
		k.blobs.breaks("", "")
		k.try(k.colder.Sweep(k.ctx))
		k.wants(true)
		if left, err := k.vaults.Moved(k.ctx); err != nil || len(left) != 0 {
			t.Errorf("Moved = %v, %v, want none", left, err)
		}
		manifests := 0
		for _, err := range blob.Prefix(k.blobs, k.id).List(k.ctx, "r/") {
			k.try(err)
			manifests++
		}
		if manifests != 1 {
			t.Errorf("%d manifests are left, want one", manifests)
		}
	})
}

// Opening a vault claims it. What is being erased is opened by nobody, who would leave a claim behind.
func TestErase_LeavesNothingForLateOpeners(t *testing.T) {
	aging(t, func(k *coldKit) {
		k.try(k.store.Erase(k.ctx, k.id))
		if v, err := k.store.Existing(k.ctx, k.id); v != nil || err != nil {
			k.Errorf("Existing = %v, %v, want nothing", v, err)
		}
		if _, err := k.store.Vault(k.ctx, k.id, account); err == nil {
			k.Error("Vault = nil, want an error")
		}
		for info, err := range k.blobs.List(k.ctx, "") {
			k.Errorf("the store still holds %s, %v", info.Name, err)
		}
	})
}
