// Package vault is the noun behind backup vaults and the recovery points in them.
//
// A vault is a row with a UUID, which is also its prefix in the store of recovery
// points. A recovery point is a row that belongs to a vault; its status moves only
// along the table in status.go. Whoever changes either first locks the vault's row
// ([Service.LockTx]) and then compares and sets, so that of two changes that exclude
// each other one wins and the other is told. A vault's count of recovery points
// changes in the transaction that adds or removes the row.
//
// Capturing and destroying data is the work of others: they create, complete, expire
// and remove rows through the methods whose names end in Tx, in transactions of theirs.
package vault

import (
	"context"
	"embed"
	"log/slog"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// DefaultQuota is how many vaults an account may have in a region.
const DefaultQuota = 300

// Tagger keeps the tags of vaults and recovery points.
type Tagger interface {
	// SetTagsTx replaces the tags of what arn names. Its errors for tags that are not allowed are API errors.
	SetTagsTx(ctx context.Context, tx *meta.Tx, account, arn string, tags map[string]string) error
	// DropTagsTx removes all tags of what arn names.
	DropTagsTx(ctx context.Context, tx *meta.Tx, account, arn string) error
	// TagsTx returns the tags of what arn names.
	TagsTx(ctx context.Context, tx *meta.Tx, account, arn string) (map[string]string, error)
}

// Protected keeps the list of resources that have recovery points: once per vault, and once over all vaults, where
// vaultUUID is empty.
type Protected interface {
	// PutProtectedTx records the newest recovery point of a resource.
	PutProtectedTx(ctx context.Context, tx *meta.Tx, account, region, vaultUUID string, r backupapi.ProtectedResource) error
	// DropProtectedTx removes a resource that has no recovery point left.
	DropProtectedTx(ctx context.Context, tx *meta.Tx, account, region, vaultUUID, resourceARN string) error
}

// Restores knows which recovery points are being read.
type Restores interface {
	// InUseTx reports whether a restore of the recovery point waits or runs. A restore is only started under the lock
	// of the vault's row, which the caller holds.
	InUseTx(ctx context.Context, tx *meta.Tx, account, pointARN string) (bool, error)
}

// Options says what a [Service] works with.
type Options struct {
	DB         *meta.DB
	Tags       Tagger
	Protected  Protected
	Restores   Restores
	Store      Store
	Sizes      Sizes // nil: they are kept up to date in the background
	Authority  Authority
	Principals Principals
	Keys       Keys   // nil: the root key wraps the keys of all vaults
	States     States // nil: states are not kept in the store
	Events     Events
	Pager      *restjson.Pager
	Lease      time.Duration    // how long work on deletions may be silent; 0 is [DefaultLease]
	Now        func() time.Time // policy clock; nil is time.Now
	Quota      int              // vaults per account and region; 0 is [DefaultQuota]
	Log        *slog.Logger     // nil is none
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	db         *meta.DB
	tags       Tagger
	protected  Protected
	restores   Restores
	store      Store
	sizes      Sizes
	authority  Authority
	principals Principals
	keys       Keys
	states     States
	events     Events
	pager      *restjson.Pager
	clock      func() time.Time
	lease      time.Duration
	quota      int
	log        *slog.Logger
}

// New makes the service.
func New(o Options) *Service {
	s := &Service{db: o.DB, tags: o.Tags, protected: o.Protected, restores: o.Restores, store: o.Store, sizes: o.Sizes,
		authority: o.Authority, principals: o.Principals, keys: o.Keys, states: o.States, events: o.Events, pager: o.Pager, clock: o.Now, quota: o.Quota, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.lease = o.Lease; s.lease == 0 {
		s.lease = DefaultLease
	}
	if s.quota == 0 {
		s.quota = DefaultQuota
	}
	return s
}

// now is the policy time as the database keeps it.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "vault", Files: migrations}
}
