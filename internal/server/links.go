package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/protected"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/setting"
	"github.com/lockfast/lockfast/internal/tag"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// links answers the questions that nouns have for each other, in the words of who asks. The nouns are filled in while
// they are made; nobody asks before that is done.
type links struct {
	db         *meta.DB
	root       *keys.Root
	rotated    atomic.Bool // keys of vaults may have to be wrapped anew
	iam        *iam.Service
	roles      roles
	nouns      *nouns
	store      *run.Store
	states     *run.States
	sizes      *run.Sizes
	placements []Placement
	compiled   compiled
}

// roles knows what roles allow. It is the identities of the server, unless a test stands for them.
type roles interface {
	RoleUsable(ctx context.Context, account, roleARN string) error
	RoleMay(ctx context.Context, account, roleARN string, rights []caller.Access) error
	DeleteAuthority(ctx context.Context, account, roleARN string, rights []caller.Access) error
}

// TaggableTx implements tag.Things.
func (l *links) TaggableTx(ctx context.Context, tx *meta.Tx, account, arn string) (bool, error) {
	ok, err := l.nouns.vaults.TaggableTx(ctx, tx, account, arn)
	if err != nil || ok {
		return ok, err
	}
	return l.nouns.plans.TaggableTx(ctx, tx, account, arn)
}

// TagsChangeable implements tag.Things.
func (l *links) TagsChangeable(ctx context.Context, account, arn string) error {
	return l.nouns.vaults.TagsChangeable(ctx, account, arn)
}

// TagsChangedTx implements tag.Things.
func (l *links) TagsChangedTx(ctx context.Context, tx *meta.Tx, account, arn string) error {
	return l.nouns.vaults.TagsChangedTx(ctx, tx, account, arn)
}

// Settle implements vault.Sizes.
func (l *links) Settle(ctx context.Context, vaultUUIDs []string) { l.sizes.Settle(ctx, vaultUUIDs) }

// WriteState implements vault.States.
func (l *links) WriteState(ctx context.Context, vaultUUID, pointARN string) error {
	return l.states.WriteState(ctx, vaultUUID, pointARN)
}

// Writable implements vault.States.
func (l *links) Writable(ctx context.Context, vaultUUID string) error {
	return l.states.Writable(ctx, vaultUUID)
}

// CheckTags implements registry.Tags.
func (l *links) CheckTags(tags map[string]string) error { return tag.Check(tags) }

// TagsTx implements registry.Tags.
func (l *links) TagsTx(ctx context.Context, tx *meta.Tx, account, arn string) (map[string]string, error) {
	return l.nouns.tags.TagsTx(ctx, tx, account, arn)
}

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
	err := l.roles.RoleUsable(ctx, account, roleARN)
	if errors.Is(err, iam.ErrRole) {
		return false, nil
	}
	return err == nil, err
}

// RoleMay implements plan.Roles.
func (l *links) RoleMay(ctx context.Context, account, roleARN string, rights []caller.Access) (refusal string, err error) {
	err = l.roles.RoleMay(ctx, account, roleARN, rights)
	if denied, ok := errors.AsType[*iam.RoleDenied](err); ok {
		return denied.Error(), nil
	}
	return "", err
}

// organization implements run.Organization.
type organization struct {
	*setting.Service
	iam *iam.Service
}

// ServiceRole implements run.Organization.
func (o organization) ServiceRole(ctx context.Context, account string) (string, error) {
	return o.iam.ServiceRole(ctx, account)
}

// DeleteAuthority implements vault.Authority.
func (l *links) DeleteAuthority(ctx context.Context, p vault.Point) (refusal string, err error) {
	err = l.roles.DeleteAuthority(ctx, p.Account, p.RoleARN, iam.DeleteRights(iam.Use{Account: p.Account,
		ResourceType: p.ResourceType, ResourceARN: p.ResourceARN, PointARN: p.ARN, Continuous: p.Continuous}))
	denied, missing := errors.AsType[*iam.RoleDenied](err)
	switch {
	case missing:
		return denied.Error(), nil
	case errors.Is(err, iam.ErrRole):
		return fmt.Sprintf("The role %s does not exist or cannot be assumed by %s", p.RoleARN, caller.ServiceName), nil
	}
	return "", err
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
	for try := 0; ; try++ {
		p, err := l.nouns.vaults.FindPoint(ctx, account, region, arn)
		if err != nil {
			return nil, err
		}
		v, err := l.store.Vault(ctx, p.VaultUUID, account)
		if err != nil {
			return nil, err
		}
		point, err := v.OpenPoint(ctx, repo.PointID(p.StoreID))
		if try == 0 && errors.Is(err, repo.ErrNotFound) {
			continue // it may have been moved to cold storage since it was read
		}
		return point, err
	}
}

// ResourcePolicies implements iam.ResourcePolicies: KMS keys have key policies, vaults have access policies.
func (l *links) ResourcePolicies(ctx context.Context, account, region string, a caller.Access) (all []policy.Attached, err error) {
	found, err := l.nouns.keys.KeyPolicies(ctx, a.Resource)
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		d, err := l.compiled.parse(p.Text, policy.Resource)
		if err != nil {
			return nil, fmt.Errorf("policy of %s: %w", a.Resource, err)
		}
		all = append(all, policy.Attached{Document: d, IDs: p.IDs})
	}
	if len(all) > 0 || strings.HasPrefix(a.Action, "kms:") {
		return all, nil
	}
	vaults, err := l.nouns.vaults.AccessPolicies(ctx, account, region, a)
	if err != nil {
		return nil, err
	}
	for _, p := range vaults {
		d, err := l.compiled.parse(p.Text, policy.Vault)
		if err != nil {
			return nil, fmt.Errorf("access policy of a vault named by %s: %w", a.Resource, err)
		}
		all = append(all, policy.Attached{Document: d, IDs: p.IDs, On: p.On})
	}
	return all, nil
}

// PrincipalIDsTx implements vault.Principals.
func (l *links) PrincipalIDsTx(ctx context.Context, tx *meta.Tx, principals []string) (map[string]string, error) {
	ids, unknown, err := l.iam.ResolvePrincipalsTx(ctx, tx, principals)
	if err == nil && unknown != "" {
		err = fmt.Errorf("%s: %w", unknown, vault.ErrPrincipal)
	}
	return ids, err
}

// compiled keeps the access policies that were asked for last, so that not every request reads their text anew.
type compiled struct {
	mu        sync.Mutex
	documents map[source]*policy.Document // guarded by mu
}

// source is what a document is compiled from.
type source struct {
	kind policy.Kind
	text string
}

// maxCompiled bounds the number of documents kept.
const maxCompiled = 1000

func (c *compiled) parse(text string, kind policy.Kind) (*policy.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := source{kind, text}
	if d := c.documents[key]; d != nil {
		return d, nil
	}
	d, err := policy.Parse(text, kind)
	if err != nil {
		return nil, err
	}
	if c.documents == nil || len(c.documents) >= maxCompiled {
		c.documents = map[source]*policy.Document{}
	}
	c.documents[key] = d
	return d, nil
}

// ResourceTags implements iam.ResourceTags.
func (l *links) ResourceTags(ctx context.Context, account, arn string) (tags map[string]string, err error) {
	err = l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if strings.HasPrefix(arn, "arn:aws:kms:") {
			tags, err = l.nouns.keys.TagsTx(ctx, tx, arn)
		} else {
			tags, err = l.nouns.tags.TagsTx(ctx, tx, account, arn)
		}
		return err
	})
	return tags, err
}
