package iam

import (
	"context"
	"slices"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// ListEntitiesForPolicy lists who a managed policy is attached to, and whose boundary it is: groups, then roles, then users.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *iamapi.ListEntitiesForPolicyInput) (
	*iamapi.ListEntitiesForPolicyOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListEntitiesForPolicy, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListEntitiesForPolicyOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := managedTx(ctx, tx, account, in.PolicyArn); err != nil {
			return err
		}
		all, err := usersOfPolicyTx(ctx, tx, page, account, in)
		all, out.IsTruncated, out.Marker = cut(page, all, func(e *entity) []string { return []string{e.kind.name, e.name} })
		out.PolicyGroups, out.PolicyRoles, out.PolicyUsers = []iamapi.PolicyGroup{}, []iamapi.PolicyRole{}, []iamapi.PolicyUser{}
		for _, e := range all {
			switch e.kind {
			case groupKind:
				out.PolicyGroups = append(out.PolicyGroups, iamapi.PolicyGroup{GroupId: &e.id, GroupName: &e.name})
			case roleKind:
				out.PolicyRoles = append(out.PolicyRoles, iamapi.PolicyRole{RoleId: &e.id, RoleName: &e.name})
			case userKind:
				out.PolicyUsers = append(out.PolicyUsers, iamapi.PolicyUser{UserId: &e.id, UserName: &e.name})
			}
		}
		return err
	})
}

// usersOfPolicyTx reads who uses a policy, by kind and name, at least one more than the page has.
func usersOfPolicyTx(
	ctx context.Context, tx *meta.Tx, page *restjson.Page, account string, in *iamapi.ListEntitiesForPolicyInput,
) ([]*entity, error) {
	var all []*entity
	for _, k := range []*kind{groupKind, roleKind, userKind} {
		rest := *page
		if rest.After = nil; len(page.After) == 2 {
			if k.name < page.After[0] {
				continue
			}
			if k.name == page.After[0] {
				rest.After = page.After[1:]
			}
		}
		if f := in.EntityFilter; f != nil && *f != iamapi.EntityType(capital(k.name)) {
			continue
		}
		condition, args := usedBy(k, account, in.PolicyArn, in.PolicyUsageFilter)
		found, err := listTx(ctx, tx, &rest, k, account, in.PathPrefix, condition, args...)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// usedBy is the condition that a thing of a kind uses a policy, with its arguments.
func usedBy(k *kind, account, arn string, filter *iamapi.PolicyUsageType) (condition string, args []any) {
	const attached = "name IN (SELECT entity FROM iam_attachment WHERE account = ? AND policy_arn = ? AND kind = ?)"
	ofAttached, bounded := []any{account, arn, k.name}, "boundary = ?"
	if k == groupKind {
		bounded = "'' = ?" // groups have no boundaries
	}
	switch {
	case filter == nil:
		return "(" + attached + " OR " + bounded + ")", append(ofAttached, arn)
	case slices.Contains([]iamapi.PolicyUsageType{iamapi.PolicyUsageTypePermissionsBoundary}, *filter):
		return bounded, []any{arn}
	}
	return attached, ofAttached
}
