package iam

import (
	"context"
	"slices"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// attachPolicy attaches a managed policy to a user, group or role; one that is attached stays so.
func (s *Service) attachPolicy(ctx context.Context, k *kind, name, arn string) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := modifiableTx(ctx, tx, k, account, name)
		if err != nil {
			return err
		}
		p, err := managedTx(ctx, tx, account, arn)
		if isAbsent(err) {
			return iamapi.NoSuchEntityExceptionf("Policy %s does not exist or is not attachable.", arn)
		}
		if err != nil {
			return err
		}
		if !p.attachable() {
			return iamapi.PolicyNotAttachableExceptionf("Cannot attach a Service Role Policy to a Customer Role.")
		}
		if err := insertAttachmentTx(ctx, tx, e, arn); err != nil {
			return err
		}
		n, err := countTx(ctx, tx, "iam_attachment WHERE account = ? AND kind = ? AND entity = ?", account, k.name, name)
		if err == nil && n > maxAttached {
			err = quota("PoliciesPer"+capital(k.name), maxAttached)
		}
		return err
	})
}

func insertAttachmentTx(ctx context.Context, tx *meta.Tx, e *entity, arn string) error {
	return runTx(ctx, tx, []any{e.account, e.kind.name, e.name, arn},
		"INSERT INTO iam_attachment (account, kind, entity, policy_arn) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
}

// detachPolicy ends the attachment of a managed policy.
func (s *Service) detachPolicy(ctx context.Context, k *kind, name, arn string) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := modifiableTx(ctx, tx, k, account, name); err != nil {
			return err
		}
		n, err := execTx(ctx, tx, "DELETE FROM iam_attachment WHERE account = ? AND kind = ? AND entity = ? AND policy_arn = ?",
			account, k.name, name, arn)
		if err == nil && n == 0 {
			err = iamapi.NoSuchEntityExceptionf("Policy %s was not found.", arn)
		}
		return err
	})
}

// attached reads the managed policies of a user, group or role.
func (s *Service) attached(ctx context.Context, k *kind, name string, prefix *string) ([]*managedPolicy, error) {
	var all []*managedPolicy
	err := s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, k, account, name); err != nil {
			return err
		}
		arns, err := selectTx(ctx, tx, text, "SELECT policy_arn FROM iam_attachment WHERE account = ? AND kind = ? AND entity = ?",
			account, k.name, name)
		if err != nil {
			return err
		}
		all = nil
		for _, arn := range arns {
			p, err := managedTx(ctx, tx, account, arn)
			if err != nil {
				return err
			}
			all = append(all, p)
		}
		return nil
	})
	return slices.DeleteFunc(all, func(p *managedPolicy) bool { return !under(p.path, prefix) }), err
}

func (p *managedPolicy) attachment() iamapi.AttachedPolicy {
	return iamapi.AttachedPolicy{PolicyArn: &p.policyARN, PolicyName: &p.name}
}

// AttachUserPolicy attaches a managed policy to a user.
func (s *Service) AttachUserPolicy(ctx context.Context, in *iamapi.AttachUserPolicyInput) (
	*iamapi.AttachUserPolicyOutput, error,
) {
	return nil, s.attachPolicy(ctx, userKind, in.UserName, in.PolicyArn)
}

// AttachGroupPolicy attaches a managed policy to a group.
func (s *Service) AttachGroupPolicy(ctx context.Context, in *iamapi.AttachGroupPolicyInput) (
	*iamapi.AttachGroupPolicyOutput, error,
) {
	return nil, s.attachPolicy(ctx, groupKind, in.GroupName, in.PolicyArn)
}

// AttachRolePolicy attaches a managed policy to a role.
func (s *Service) AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (
	*iamapi.AttachRolePolicyOutput, error,
) {
	return nil, s.attachPolicy(ctx, roleKind, in.RoleName, in.PolicyArn)
}

// DetachUserPolicy detaches a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, in *iamapi.DetachUserPolicyInput) (
	*iamapi.DetachUserPolicyOutput, error,
) {
	return nil, s.detachPolicy(ctx, userKind, in.UserName, in.PolicyArn)
}

// DetachGroupPolicy detaches a managed policy from a group.
func (s *Service) DetachGroupPolicy(ctx context.Context, in *iamapi.DetachGroupPolicyInput) (
	*iamapi.DetachGroupPolicyOutput, error,
) {
	return nil, s.detachPolicy(ctx, groupKind, in.GroupName, in.PolicyArn)
}

// DetachRolePolicy detaches a managed policy from a role.
func (s *Service) DetachRolePolicy(ctx context.Context, in *iamapi.DetachRolePolicyInput) (
	*iamapi.DetachRolePolicyOutput, error,
) {
	return nil, s.detachPolicy(ctx, roleKind, in.RoleName, in.PolicyArn)
}

// ListAttachedUserPolicies lists the managed policies of a user by their names.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *iamapi.ListAttachedUserPoliciesInput) (
	*iamapi.ListAttachedUserPoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListAttachedUserPolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListAttachedUserPoliciesOutput{}
	all, err := s.attached(ctx, userKind, in.UserName, in.PathPrefix)
	all, out.IsTruncated, out.Marker = window(page, all, byScope)
	out.AttachedPolicies = mapped(all, (*managedPolicy).attachment)
	return out, err
}

// ListAttachedGroupPolicies lists the managed policies of a group by their names.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, in *iamapi.ListAttachedGroupPoliciesInput) (
	*iamapi.ListAttachedGroupPoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListAttachedGroupPolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListAttachedGroupPoliciesOutput{}
	all, err := s.attached(ctx, groupKind, in.GroupName, in.PathPrefix)
	all, out.IsTruncated, out.Marker = window(page, all, byScope)
	out.AttachedPolicies = mapped(all, (*managedPolicy).attachment)
	return out, err
}

// ListAttachedRolePolicies lists the managed policies of a role by their names.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *iamapi.ListAttachedRolePoliciesInput) (
	*iamapi.ListAttachedRolePoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListAttachedRolePolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListAttachedRolePoliciesOutput{}
	all, err := s.attached(ctx, roleKind, in.RoleName, in.PathPrefix)
	all, out.IsTruncated, out.Marker = window(page, all, byScope)
	out.AttachedPolicies = mapped(all, (*managedPolicy).attachment)
	return out, err
}
