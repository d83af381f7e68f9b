package iam

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

// ManagedPolicy is a managed policy of AWS, of which only the newest version is known.
type ManagedPolicy struct {
	ARN, Name, Path, ID, Description, Document string
	Created                                    time.Time
	Versions                                   int // number of the newest one
}

// managedPolicy is a managed policy of the account or of AWS.
type managedPolicy struct {
	entity
	policyARN   string
	description string
	version     int64 // the default one
	updated     time.Time
	aws         *ManagedPolicy // nil for one of the account
}

func (p *ManagedPolicy) policy() *managedPolicy {
	return &managedPolicy{
		entity:    entity{kind: policyKind, account: "aws", name: p.Name, path: p.Path, id: p.ID, created: p.Created},
		policyARN: p.ARN, description: p.Description, version: int64(p.Versions), updated: p.Created, aws: p,
	}
}

const policyColumns = "arn, description, default_version, updated_at"

func (p *managedPolicy) scan(row interface{ Scan(...any) error }) error {
	var updated int64
	p.kind = policyKind
	err := p.entity.scan(row, &p.policyARN, &p.description, &p.version, &updated)
	p.updated = meta.FromMicros(updated)
	return err
}

// attachable reports whether users may attach the policy; those of service-linked roles are for these only.
func (p *managedPolicy) attachable() bool {
	return p.aws == nil || !strings.HasPrefix(p.path, serviceRolePath)
}

// byScope orders policies by name; of two with the same name, that of the account comes first.
func byScope(p *managedPolicy) []string {
	if p.aws != nil {
		return []string{p.name, "aws"}
	}
	return []string{p.name}
}

// managedTx reads a managed policy of an account or of AWS by its ARN.
func managedTx(ctx context.Context, tx *meta.Tx, account, arn string) (*managedPolicy, error) {
	if p, ok := awsManaged(arn); ok {
		return p.policy(), nil
	}
	p := &managedPolicy{}
	err := p.scan(tx.QueryRow(ctx, "SELECT "+policyKind.columns()+", "+policyColumns+" FROM iam_policy WHERE account = ? AND arn = ?", account, arn))
	return p, orNotFound(err, iamapi.NoSuchEntityExceptionf("Policy %s was not found.", arn))
}

// ownTx is [managedTx] for a change, which AWS's policies refuse.
func ownTx(ctx context.Context, tx *meta.Tx, account, arn string) (*managedPolicy, error) {
	p, err := managedTx(ctx, tx, account, arn)
	if err == nil && p.aws != nil {
		err = &wire.Denied{Message: "Policy " + arn + " is managed by AWS and cannot be changed."}
	}
	return p, err
}

// ownPolicy finds a policy of the account by its ARN.
func ownPolicy(arn string) finder {
	return func(ctx context.Context, tx *meta.Tx, account string) (*entity, error) {
		p, err := ownTx(ctx, tx, account, arn)
		if err != nil {
			return nil, err
		}
		return &p.entity, nil
	}
}

// describeTx is a policy in the form of answers to lists, which leave out its description and tags.
func (p *managedPolicy) describeTx(ctx context.Context, tx *meta.Tx, account string) (iamapi.Policy, error) {
	out := iamapi.Policy{Arn: &p.policyARN, CreateDate: &p.created, DefaultVersionId: new(versionID(p.version)), IsAttachable: new(p.attachable()),
		Path: &p.path, PolicyId: &p.id, PolicyName: &p.name, UpdateDate: &p.updated}
	attached, bounds, err := usesTx(ctx, tx, account, p.policyARN)
	out.AttachmentCount, out.PermissionsBoundaryUsageCount = &attached, &bounds
	return out, err
}

// fullTx is a policy with its description and tags.
func (p *managedPolicy) fullTx(ctx context.Context, tx *meta.Tx, account string) (iamapi.Policy, error) {
	out, err := p.describeTx(ctx, tx, account)
	if err != nil {
		return out, err
	}
	if p.description != "" {
		out.Description = &p.description
	}
	out.Tags = []iamapi.Tag{}
	if p.aws == nil {
		out.Tags, err = tagsTx(ctx, tx, &p.entity)
	}
	return out, err
}

// usesTx counts how often a policy is attached in an account, and how often it is a permissions boundary.
func usesTx(ctx context.Context, tx *meta.Tx, account, arn string) (attached, bounds int, err error) {
	attached, err = countTx(ctx, tx, "iam_attachment WHERE account = ? AND policy_arn = ?", account, arn)
	for _, k := range []*kind{userKind, roleKind} {
		if err != nil {
			return 0, 0, err
		}
		var n int
		n, err = countTx(ctx, tx, k.table+" WHERE account = ? AND boundary = ?", account, arn)
		bounds += n
	}
	return attached, bounds, err
}

// CreatePolicy makes a managed policy with its first version.
func (s *Service) CreatePolicy(ctx context.Context, in *iamapi.CreatePolicyInput) (*iamapi.CreatePolicyOutput, error) {
	if err := checkManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &iamapi.CreatePolicyOutput{Policy: &iamapi.Policy{}}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := freeTx(ctx, tx, policyKind, account, in.PolicyName); err != nil {
			return err
		}
		arn, at := policyKind.arn(account, orRoot(in.Path), in.PolicyName), now()
		_, err := execTx(ctx, tx, `INSERT INTO iam_policy (arn, account, name, path, policy_id, description, default_version,
			next_version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 1, 2, ?, ?)`,
			arn, account, in.PolicyName, orRoot(in.Path), policyKind.newID(), deref(in.Description), at, at)
		if err == nil {
			err = insertVersionTx(ctx, tx, arn, 1, in.PolicyDocument, at)
		}
		if err != nil {
			return err
		}
		p, err := managedTx(ctx, tx, account, arn)
		if err == nil {
			err = putTagsTx(ctx, tx, &p.entity, in.Tags)
		}
		if err == nil {
			*out.Policy, err = p.fullTx(ctx, tx, account)
		}
		return err
	})
}

// GetPolicy describes a managed policy without its document.
func (s *Service) GetPolicy(ctx context.Context, in *iamapi.GetPolicyInput) (*iamapi.GetPolicyOutput, error) {
	out := &iamapi.GetPolicyOutput{Policy: &iamapi.Policy{}}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := managedTx(ctx, tx, account, in.PolicyArn)
		if err == nil {
			*out.Policy, err = p.fullTx(ctx, tx, account)
		}
		return err
	})
}

// ListPolicies lists managed policies by their names.
func (s *Service) ListPolicies(ctx context.Context, in *iamapi.ListPoliciesInput) (*iamapi.ListPoliciesOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListPolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListPoliciesOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		all, err := s.listManagedTx(ctx, tx, account, in, page.After, page.Limit+1)
		if err != nil {
			return err
		}
		all, out.IsTruncated, out.Marker = cut(page, all, byScope)
		out.Policies = make([]iamapi.Policy, len(all))
		for i, p := range all {
			if out.Policies[i], err = p.describeTx(ctx, tx, account); err != nil {
				return err
			}
		}
		return nil
	})
}

// listManagedTx reads the policies of a list that follow a key of [byScope], limit of them at most.
func (s *Service) listManagedTx(
	ctx context.Context, tx *meta.Tx, account string, in *iamapi.ListPoliciesInput, after []string, limit int,
) ([]*managedPolicy, error) {
	scope := iamapi.PolicyScopeTypeAll
	if in.Scope != nil {
		scope = *in.Scope
	}
	var all []*managedPolicy
	if scope != iamapi.PolicyScopeTypeAws {
		own, err := listOwnTx(ctx, tx, account, in, append(after, "")[0], limit)
		if err != nil {
			return nil, err
		}
		all = own
	}
	if scope != iamapi.PolicyScopeTypeLocal {
		used, err := selectTx(ctx, tx, text, "SELECT arn FROM ("+usedPolicies(in.PolicyUsageFilter)+") used", usedArguments(account, in.PolicyUsageFilter)...)
		if err != nil {
			return nil, err
		}
		onlyUsed := isTrue(in.OnlyAttached) || in.PolicyUsageFilter != nil
		for _, p := range awsManagedAll() {
			if under(p.Path, in.PathPrefix) && (!onlyUsed || slices.Contains(used, p.ARN)) && slices.Compare(byScope(p.policy()), after) > 0 {
				all = append(all, p.policy())
			}
		}
	}
	slices.SortFunc(all, func(a, b *managedPolicy) int { return slices.Compare(byScope(a), byScope(b)) })
	return all[:min(limit, len(all))], nil
}

// listOwnTx reads policies of the account whose names follow one.
func listOwnTx(
	ctx context.Context, tx *meta.Tx, account string, in *iamapi.ListPoliciesInput, after string, limit int,
) ([]*managedPolicy, error) {
	prefix := orRoot(in.PathPrefix)
	query := "SELECT " + policyKind.columns() + ", " + policyColumns + " FROM iam_policy WHERE account = ? AND name > ? AND substr(path, 1, ?) = ?"
	args := []any{account, after, len(prefix), prefix}
	if isTrue(in.OnlyAttached) || in.PolicyUsageFilter != nil {
		query += " AND arn IN (" + usedPolicies(in.PolicyUsageFilter) + ")"
		args = append(args, usedArguments(account, in.PolicyUsageFilter)...)
	}
	return selectTx(ctx, tx, func(rows *sql.Rows) (*managedPolicy, error) {
		p := &managedPolicy{}
		return p, p.scan(rows)
	}, query+" ORDER BY name LIMIT ?", append(args, limit)...)
}

// usedPolicies selects the ARNs of policies that are attached or are boundaries, or one of the two.
func usedPolicies(filter *iamapi.PolicyUsageType) string {
	const (
		attached = "SELECT policy_arn AS arn FROM iam_attachment WHERE account = ?"
		bounds   = "SELECT boundary AS arn FROM iam_user WHERE account = ? UNION SELECT boundary FROM iam_role WHERE account = ?"
	)
	switch {
	case filter == nil:
		return attached + " UNION " + bounds
	case *filter == iamapi.PolicyUsageTypePermissionsBoundary:
		return bounds
	}
	return attached
}

func usedArguments(account string, filter *iamapi.PolicyUsageType) []any {
	return slices.Repeat([]any{account}, strings.Count(usedPolicies(filter), "?"))
}

func isTrue(b *bool) bool { return b != nil && *b }

// DeletePolicy removes a managed policy that is nowhere in use and has one version.
func (s *Service) DeletePolicy(ctx context.Context, in *iamapi.DeletePolicyInput) (*iamapi.DeletePolicyOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := ownTx(ctx, tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		attached, bounds, err := usesTx(ctx, tx, account, p.policyARN)
		if err != nil {
			return err
		}
		if attached+bounds > 0 {
			return iamapi.DeleteConflictExceptionf("Cannot delete a policy attached to entities.")
		}
		n, err := countTx(ctx, tx, "iam_policy_version WHERE arn = ?", p.policyARN)
		if err != nil {
			return err
		}
		if n > 1 {
			return iamapi.DeleteConflictExceptionf("This policy has more than one version. Before you delete a policy, you must delete " +
				"the policy's versions. The default version is deleted with the policy.")
		}
		if err := runTx(ctx, tx, []any{p.policyARN}, "DELETE FROM iam_policy_version WHERE arn = ?"); err != nil {
			return err
		}
		return removeTx(ctx, tx, &p.entity)
	})
}
