package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// attachedBoundary is the permissions boundary of an entity in the form of answers, or nil.
func (e *entity) attachedBoundary() *iamapi.AttachedPermissionsBoundary {
	if e.boundary == "" {
		return nil
	}
	return &iamapi.AttachedPermissionsBoundary{
		PermissionsBoundaryArn: &e.boundary, PermissionsBoundaryType: new(iamapi.PermissionsBoundaryAttachmentType(boundaryType)),
	}
}

// checkBoundaryTx checks that a permissions boundary, if there is one, is a managed policy.
func checkBoundaryTx(ctx context.Context, tx *meta.Tx, account string, arn *string) error {
	if arn == nil {
		return nil
	}
	p, err := managedTx(ctx, tx, account, *arn)
	if isAbsent(err) || err == nil && !p.attachable() {
		return iamapi.NoSuchEntityExceptionf("Scope ARN: %s does not exist or is not attachable.", *arn)
	}
	return err
}

// bound gives an entity a permissions boundary, or takes it away.
func (s *Service) bound(ctx context.Context, k *kind, name string, arn *string) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := modifiableTx(ctx, tx, k, account, name)
		if err == nil {
			err = checkBoundaryTx(ctx, tx, account, arn)
		}
		if err != nil {
			return err
		}
		if arn == nil && e.boundary == "" {
			return iamapi.NoSuchEntityExceptionf("%s %s does not have a permission boundary", capital(k.title), name)
		}
		return runTx(ctx, tx, []any{deref(arn), account, name}, "UPDATE "+k.table+" SET boundary = ? WHERE account = ? AND name = ?")
	})
}

// PutUserPermissionsBoundary limits what policies can allow a user.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *iamapi.PutUserPermissionsBoundaryInput) (
	*iamapi.PutUserPermissionsBoundaryOutput, error,
) {
	return nil, s.bound(ctx, userKind, in.UserName, &in.PermissionsBoundary)
}

// PutRolePermissionsBoundary limits what policies can allow a role.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *iamapi.PutRolePermissionsBoundaryInput) (
	*iamapi.PutRolePermissionsBoundaryOutput, error,
) {
	return nil, s.bound(ctx, roleKind, in.RoleName, &in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary takes the limit of a user away.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *iamapi.DeleteUserPermissionsBoundaryInput) (
	*iamapi.DeleteUserPermissionsBoundaryOutput, error,
) {
	return nil, s.bound(ctx, userKind, in.UserName, nil)
}

// DeleteRolePermissionsBoundary takes the limit of a role away.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *iamapi.DeleteRolePermissionsBoundaryInput) (
	*iamapi.DeleteRolePermissionsBoundaryOutput, error,
) {
	return nil, s.bound(ctx, roleKind, in.RoleName, nil)
}
