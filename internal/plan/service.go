// Package plan is the noun behind backup plans and their selections.
//
// A plan is a row, and a document in versions that never change: its rules say when resources are backed up, into which
// vault and for how long. A selection belongs to a plan and says which resources, with which role; [Selection.Judge] is
// that decision. The rules of the current version of a live plan have rows of their own with the time at which they fire
// next. Making jobs of them is the work of package sched.
package plan

import (
	"context"
	"embed"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Quotas of AWS Backup, see https://docs.aws.amazon.com/aws-backup/latest/devguide/aws-backup-limits.html.
const (
	DefaultQuota     = 300 // live plans per account and region
	maxVersions      = 2000
	maxRules         = 10
	maxCopyActions   = 5
	maxRuleTags      = 10
	maxSelections    = 100
	maxTagSelections = 10 // that look at tags
	maxPlainARNs     = 500
	maxWildcardARNs  = 30
	maxConditions    = 30
)

// Tagger keeps the tags of plans.
type Tagger interface {
	// SetTagsTx replaces the tags of what arn names. Its errors for tags that are not allowed are API errors.
	SetTagsTx(ctx context.Context, tx *meta.Tx, account, arn string, tags map[string]string) error
	// DropTagsTx removes all tags of what arn names.
	DropTagsTx(ctx context.Context, tx *meta.Tx, account, arn string) error
}

// Vaults knows the vaults that rules name.
type Vaults interface {
	// VaultUUIDTx finds a vault by its name. A missing vault is a ResourceNotFoundException.
	VaultUUIDTx(ctx context.Context, tx *meta.Tx, account, region, name string) (string, error)
	// CheckLifecycle answers an API error for a lifecycle that is not allowed.
	CheckLifecycle(l *backupapi.Lifecycle) error
}

// Roles knows what roles allow.
type Roles interface {
	// RoleUsable reports whether the service can act with a role.
	RoleUsable(ctx context.Context, account, roleARN string) (bool, error)
	// RoleMay returns why a role does not allow something, empty if it does.
	RoleMay(ctx context.Context, account, roleARN string, rights []caller.Access) (refusal string, err error)
}

// Options says what a [Service] works with.
type Options struct {
	DB        *meta.DB
	Events    Events // nil: nobody is told
	Tags      Tagger
	CheckTags func(map[string]string) error // answers API errors
	Vaults    Vaults
	Roles     Roles
	Pager     *restjson.Pager
	ExportKey []byte           // signs exported plans; equal on all servers of an installation
	Now       func() time.Time // policy clock; nil is time.Now
	Quota     int              // live plans per account and region; 0 is [DefaultQuota]
}

// Service is the noun. Its methods may be called concurrently.
type Service struct{ o Options }

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Quota == 0 {
		o.Quota = DefaultQuota
	}
	return &Service{o}
}

// now is the policy time as the database keeps it.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "plan", Files: migrations}
}

// ARN is a plan's name for clients.
func ARN(account, region, id string) string {
	return "arn:aws:backup:" + region + ":" + account + ":backup-plan:" + id
}
