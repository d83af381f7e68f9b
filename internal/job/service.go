// Package job is the noun behind backup jobs, copy jobs and restore jobs.
//
// A job is a row. Starting one inserts the row and enqueues the work ([RunBackup], [RunCopy],
// [RunRestore]) in one transaction; a
// worker claims it, writes progress, and ends it. Workers and rows find each other by a lease: the claim gives the
// worker a token with a time limit, every heartbeat extends it, and every later change is made only if the token still
// stands. A job whose lease ran out is enqueued again ([Service.Sweep]) and claimed by somebody else; what the lost
// worker still does to the row fails with [ErrLost].
//
// The backup of a group, and the copy of such a backup, is a parent job with a child job per member, see [Composite].
//
// A resource has one running backup or copy at a time, which has a row in job_turn; its primary key makes sure. The others
// wait as CREATED, until the one before them ends or, of backups, their start window passes.
package job

import (
	"context"
	"embed"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/resource"
)

// Vaults answers questions about vaults and their recovery points.
type Vaults interface {
	// VaultUUIDTx finds a vault by its name; a missing one is an API error.
	VaultUUIDTx(ctx context.Context, tx *meta.Tx, account, region, name string) (string, error)
	// RestorableTx finds a recovery point and locks its vault's row until the transaction ends. One that is missing or
	// cannot be read is an API error.
	RestorableTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (*backupapi.DescribeRecoveryPointOutput, error)
	// RoleOfPoint returns the role that made a recovery point; empty if RestorableTx would refuse it.
	RoleOfPoint(ctx context.Context, account, region, arn string) (string, error)
	// CopyableTx finds a recovery point in a vault of an account, locks the vault's row until the transaction ends, and
	// returns the retention in days that a copy of it gets with a lifecycle, which may be nil: 0 is for ever. One that is
	// missing or cannot be copied is an API error; point is nil only if it is missing.
	CopyableTx(ctx context.Context, tx *meta.Tx, account, region, vaultName, arn string, l *backupapi.Lifecycle) (
		point *backupapi.DescribeRecoveryPointOutput, days int64, err error)
	// NestedTx returns the ARNs of the recovery points that are nested in a composite one, in the order of their members.
	NestedTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) ([]string, error)
	// ColdAfterDays is the number of days of a lifecycle, checked before, after which a recovery point of a type of
	// resources is moved to cold storage; 0 for never.
	ColdAfterDays(l *backupapi.Lifecycle, resourceType string) int64
	// CopyColdAfterDays is that of a copy of a recovery point, which is deleted after a number of days, 0 for never. What
	// does not go together is an API error.
	CopyColdAfterDays(p *backupapi.DescribeRecoveryPointOutput, l *backupapi.Lifecycle, deleteAfterDays int64) (int64, error)
	// CheckLifecycle answers an API error for a lifecycle that is not allowed.
	CheckLifecycle(l *backupapi.Lifecycle) error
}

// Resources knows the declared resources.
type Resources interface {
	// TypeOf returns the resource type of an ARN; false for one that cannot be backed up.
	TypeOf(arn string) (string, bool)
	// LookupTx finds a resource; false if there is none.
	LookupTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (resource.Resource, bool, error)
}

// Settings knows for which types of resources an account has opted in.
type Settings interface {
	OptedInTx(ctx context.Context, tx *meta.Tx, account, region string) (func(resourceType string) bool, error)
}

// Roles knows the roles of the accounts.
type Roles interface {
	// RoleUsable reports whether a role exists and trusts the service. It is not called inside a transaction.
	RoleUsable(ctx context.Context, account, roleARN string) (bool, error)
}

// Placements are the directories in which restores may create resources.
type Placements interface {
	// Placement returns the directory of a placement, or of the first one if name is empty.
	Placement(name string) (directory string, ok bool)
}

// Events keeps what happened.
type Events interface {
	// EnqueueTx records an event that the transaction makes happen.
	EnqueueTx(ctx context.Context, tx *meta.Tx, e events.Event) error
}

// Options says what a [Service] works with.
type Options struct {
	DB         *meta.DB
	Events     Events // nil: nobody is told
	Vaults     Vaults
	Resources  Resources
	Roles      Roles
	Settings   Settings // nil: all types are opted in
	Placements Placements
	// MayUse refuses paths of the host that an account may not name, whether they exist or not; nil is for none.
	MayUse func(account, path string) error
	Pager  *restjson.Pager
	Now    func() time.Time // policy clock; nil is time.Now
	Lease  time.Duration    // how long a worker may be silent; 0 is [DefaultLease]
	// Management is the account that may see summaries of other accounts' jobs.
	Management string
}

// Limits of jobs.
const (
	DefaultLease = time.Minute
	// MaxAttempts is how often a job is started again after its worker was lost.
	MaxAttempts = 5
	// MaxSkips is how many left-out items of a job are kept.
	MaxSkips = resource.MaxSkips
)

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	Options
}

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	return &Service{o}
}

// now is the policy time as the database keeps it.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "job", Files: migrations}
}
