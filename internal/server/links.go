package server

import (
	"context"
	"errors"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/protected"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/tag"
	"github.com/lockfast/lockfast/repo"
)

// links answers the questions that nouns have for each other, in the words of who asks. The nouns are filled in while
// they are made; nobody asks before that is done.
type links struct {
	db         *meta.DB
	iam        *iam.Service
	nouns      *nouns
	store      *run.Store
	placements []Placement
}

// TaggableTx implements tag.Things.
func (l *links) TaggableTx(ctx context.Context, tx *meta.Tx, account, arn string) (bool, error) {
	return l.nouns.vaults.TaggableTx(ctx, tx, account, arn)
}

// CheckTags implements registry.Tags.
func (l *links) CheckTags(tags map[string]string) error { return tag.Check(tags) }

// LatestRestore implements protected.Restores.
func (l *links) LatestRestore(ctx context.Context, account, region, resourceARN string) (r protected.Restore, ok bool, err error) {
	err = l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		r.CreatedAt, r.PointCreatedAt, r.Took, err = l.nouns.jobs.LastRestoreTx(ctx, tx, account, region, resourceARN)
		return err
	})
	return r, !r.CreatedAt.IsZero(), err
}

// InUseTx implements vault.Restores.
func (l *links) InUseTx(ctx context.Context, tx *meta.Tx, account, pointARN string) (bool, error) {
	return l.nouns.jobs.InUseTx(ctx, tx, account, pointARN)
}

// RoleUsable implements job.Roles.
func (l *links) RoleUsable(ctx context.Context, account, roleARN string) (bool, error) {
	err := l.iam.RoleUsable(ctx, account, roleARN)
	if errors.Is(err, iam.ErrRole) {
		return false, nil
	}
	return err == nil, err
}

// Placement implements job.Placements.
func (l *links) Placement(name string) (directory string, ok bool) {
	for _, p := range l.placements {
		if name == "" || p.Name == name {
			return p.Directory, true
		}
	}
	return "", false
}

// VaultUUID implements task.Vaults and protected.Vaults.
func (l *links) VaultUUID(ctx context.Context, account, region, name string) (id string, err error) {
	err = l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		id, err = l.nouns.vaults.VaultUUIDTx(ctx, tx, account, region, name)
		return err
	})
	return id, err
}

// OpenPoint implements browse.Points.
func (l *links) OpenPoint(ctx context.Context, account, region, arn string) (*repo.Point, error) {
	p, err := l.nouns.vaults.FindPoint(ctx, account, region, arn)
	if err != nil {
		return nil, err
	}
	v, err := l.store.Vault(ctx, p.VaultUUID, account)
	if err != nil {
		return nil, err
	}
	return v.OpenPoint(ctx, repo.PointID(p.StoreID))
}

// ResourcePolicies implements iam.ResourcePolicies. No resource has a policy yet.
func (l *links) ResourcePolicies(context.Context, string, string, caller.Access) ([]policy.Attached, error) {
	return nil, nil
}

// ResourceTags implements iam.ResourceTags.
func (l *links) ResourceTags(ctx context.Context, account, arn string) (tags map[string]string, err error) {
	err = l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		tags, err = l.nouns.tags.TagsTx(ctx, tx, account, arn)
		return err
	})
	return tags, err
}
