package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// putInline gives a user, group or role an inline policy, or replaces the one with that name.
func (s *Service) putInline(ctx context.Context, k *kind, entity, name, document string) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := modifiableTx(ctx, tx, k, account, entity); err != nil {
			return err
		}
		if size(document) > k.inline { // before parsing, which has a limit of its own
			return tooMuch(k, entity)
		}
		if _, err := parse(document, policy.Identity); err != nil {
			return err
		}
		_, err := execTx(ctx, tx, `INSERT INTO iam_inline_policy (account, kind, entity, name, document) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (account, kind, entity, name) DO UPDATE SET document = excluded.document`, account, k.name, entity, name, document)
		if err != nil {
			return err
		}
		all, err := selectTx(ctx, tx, text, "SELECT document FROM iam_inline_policy WHERE account = ? AND kind = ? AND entity = ?",
			account, k.name, entity)
		total := 0
		for _, d := range all {
			total += size(d)
		}
		if err == nil && total > k.inline {
			err = tooMuch(k, entity)
		}
		return err
	})
}

func tooMuch(k *kind, entity string) error {
	return iamapi.LimitExceededExceptionf("Maximum policy size of %d bytes exceeded for %s %s", k.inline, k.title, entity)
}

func noInline(k *kind, name string) error {
	return iamapi.NoSuchEntityExceptionf("The %s policy with name %s cannot be found.", k.title, name)
}

// getInline reads the document of an inline policy, encoded.
func (s *Service) getInline(ctx context.Context, k *kind, entity, name string) (document string, err error) {
	err = s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, k, account, entity); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "SELECT document FROM iam_inline_policy WHERE account = ? AND kind = ? AND entity = ? AND name = ?",
			account, k.name, entity, name).Scan(&document)
		return orNotFound(err, noInline(k, name))
	})
	return encode(document), err
}

func (s *Service) deleteInline(ctx context.Context, k *kind, entity, name string) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := modifiableTx(ctx, tx, k, account, entity); err != nil {
			return err
		}
		n, err := execTx(ctx, tx, "DELETE FROM iam_inline_policy WHERE account = ? AND kind = ? AND entity = ? AND name = ?",
			account, k.name, entity, name)
		if err == nil && n == 0 {
			err = noInline(k, name)
		}
		return err
	})
}

// inlineNames reads the names of the inline policies of a user, group or role. The limit of their sizes keeps them few.
func (s *Service) inlineNames(ctx context.Context, k *kind, entity string) (names []string, err error) {
	err = s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		_, err := findTx(ctx, tx, k, account, entity)
		if err == nil {
			names, err = selectTx(ctx, tx, text, "SELECT name FROM iam_inline_policy WHERE account = ? AND kind = ? AND entity = ?",
				account, k.name, entity)
		}
		return err
	})
	return names, err
}

// PutUserPolicy gives a user an inline policy, or replaces the one with that name.
func (s *Service) PutUserPolicy(ctx context.Context, in *iamapi.PutUserPolicyInput) (
	*iamapi.PutUserPolicyOutput, error,
) {
	return nil, s.putInline(ctx, userKind, in.UserName, in.PolicyName, in.PolicyDocument)
}

// GetUserPolicy answers an inline policy of a user.
func (s *Service) GetUserPolicy(ctx context.Context, in *iamapi.GetUserPolicyInput) (
	*iamapi.GetUserPolicyOutput, error,
) {
	document, err := s.getInline(ctx, userKind, in.UserName, in.PolicyName)
	return &iamapi.GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

// DeleteUserPolicy removes an inline policy of a user.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *iamapi.DeleteUserPolicyInput) (
	*iamapi.DeleteUserPolicyOutput, error,
) {
	return nil, s.deleteInline(ctx, userKind, in.UserName, in.PolicyName)
}

// ListUserPolicies lists the names of the inline policies of a user.
func (s *Service) ListUserPolicies(ctx context.Context, in *iamapi.ListUserPoliciesInput) (
	*iamapi.ListUserPoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListUserPolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListUserPoliciesOutput{}
	names, err := s.inlineNames(ctx, userKind, in.UserName)
	out.PolicyNames, out.IsTruncated, out.Marker = window(page, names, byText)
	return out, err
}

// PutGroupPolicy gives a group an inline policy, or replaces the one with that name.
func (s *Service) PutGroupPolicy(ctx context.Context, in *iamapi.PutGroupPolicyInput) (
	*iamapi.PutGroupPolicyOutput, error,
) {
	return nil, s.putInline(ctx, groupKind, in.GroupName, in.PolicyName, in.PolicyDocument)
}

// GetGroupPolicy answers an inline policy of a group.
func (s *Service) GetGroupPolicy(ctx context.Context, in *iamapi.GetGroupPolicyInput) (
	*iamapi.GetGroupPolicyOutput, error,
) {
	document, err := s.getInline(ctx, groupKind, in.GroupName, in.PolicyName)
	return &iamapi.GetGroupPolicyOutput{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

// DeleteGroupPolicy removes an inline policy of a group.
func (s *Service) DeleteGroupPolicy(ctx context.Context, in *iamapi.DeleteGroupPolicyInput) (
	*iamapi.DeleteGroupPolicyOutput, error,
) {
	return nil, s.deleteInline(ctx, groupKind, in.GroupName, in.PolicyName)
}

// ListGroupPolicies lists the names of the inline policies of a group.
func (s *Service) ListGroupPolicies(ctx context.Context, in *iamapi.ListGroupPoliciesInput) (
	*iamapi.ListGroupPoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListGroupPolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListGroupPoliciesOutput{}
	names, err := s.inlineNames(ctx, groupKind, in.GroupName)
	out.PolicyNames, out.IsTruncated, out.Marker = window(page, names, byText)
	return out, err
}

// PutRolePolicy gives a role an inline policy, or replaces the one with that name.
func (s *Service) PutRolePolicy(ctx context.Context, in *iamapi.PutRolePolicyInput) (
	*iamapi.PutRolePolicyOutput, error,
) {
	return nil, s.putInline(ctx, roleKind, in.RoleName, in.PolicyName, in.PolicyDocument)
}

// GetRolePolicy answers an inline policy of a role.
func (s *Service) GetRolePolicy(ctx context.Context, in *iamapi.GetRolePolicyInput) (
	*iamapi.GetRolePolicyOutput, error,
) {
	document, err := s.getInline(ctx, roleKind, in.RoleName, in.PolicyName)
	return &iamapi.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

// DeleteRolePolicy removes an inline policy of a role.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *iamapi.DeleteRolePolicyInput) (
	*iamapi.DeleteRolePolicyOutput, error,
) {
	return nil, s.deleteInline(ctx, roleKind, in.RoleName, in.PolicyName)
}

// ListRolePolicies lists the names of the inline policies of a role.
func (s *Service) ListRolePolicies(ctx context.Context, in *iamapi.ListRolePoliciesInput) (
	*iamapi.ListRolePoliciesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListRolePolicies, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListRolePoliciesOutput{}
	names, err := s.inlineNames(ctx, roleKind, in.RoleName)
	out.PolicyNames, out.IsTruncated, out.Marker = window(page, names, byText)
	return out, err
}
