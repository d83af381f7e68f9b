package iam

import (
	"context"
	"database/sql"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// profileTx is an instance profile in the form of answers to lists, which leave out its tags. Nothing here runs with one; they exist
// because other tools manage them together with roles.
func profileTx(ctx context.Context, tx *meta.Tx, e *entity) (iamapi.InstanceProfile, error) {
	out := iamapi.InstanceProfile{Arn: e.arn(), CreateDate: e.created, InstanceProfileId: e.id, InstanceProfileName: e.name, Path: e.path}
	all, err := selectTx(ctx, tx, func(rows *sql.Rows) (*role, error) { return scanRole(rows) },
		"SELECT "+roleKind.columns()+", "+roleColumns+` FROM iam_role WHERE account = ? AND name IN
		(SELECT role_name FROM iam_instance_profile WHERE account = ? AND name = ?)`, e.account, e.account, e.name)
	out.Roles = mapped(all, (*role).describe)
	return out, err
}

func fullProfileTx(ctx context.Context, tx *meta.Tx, e *entity) (iamapi.InstanceProfile, error) {
	out, err := profileTx(ctx, tx, e)
	if err == nil {
		out.Tags, err = tagsTx(ctx, tx, e)
	}
	return out, err
}

// CreateInstanceProfile makes an instance profile without a role.
func (s *Service) CreateInstanceProfile(ctx context.Context, in *iamapi.CreateInstanceProfileInput) (
	*iamapi.CreateInstanceProfileOutput, error,
) {
	out := &iamapi.CreateInstanceProfileOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := freeTx(ctx, tx, profileKind, account, in.InstanceProfileName); err != nil {
			return err
		}
		_, err := execTx(ctx, tx, `INSERT INTO iam_instance_profile (account, name, path, profile_id, role_name, created_at)
			VALUES (?, ?, ?, ?, '', ?)`, account, in.InstanceProfileName, orRoot(in.Path), profileKind.newID(), now())
		if err != nil {
			return err
		}
		e, err := findTx(ctx, tx, profileKind, account, in.InstanceProfileName)
		if err == nil {
			err = putTagsTx(ctx, tx, e, in.Tags)
		}
		if err == nil {
			out.InstanceProfile, err = fullProfileTx(ctx, tx, e)
		}
		return err
	})
}

// GetInstanceProfile describes an instance profile with its role.
func (s *Service) GetInstanceProfile(ctx context.Context, in *iamapi.GetInstanceProfileInput) (
	*iamapi.GetInstanceProfileOutput, error,
) {
	out := &iamapi.GetInstanceProfileOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, profileKind, account, in.InstanceProfileName)
		if err == nil {
			out.InstanceProfile, err = fullProfileTx(ctx, tx, e)
		}
		return err
	})
}

// profilesTx describes instance profiles.
func profilesTx(ctx context.Context, tx *meta.Tx, all []*entity) ([]iamapi.InstanceProfile, error) {
	list := make([]iamapi.InstanceProfile, len(all))
	for i, e := range all {
		var err error
		if list[i], err = profileTx(ctx, tx, e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ListInstanceProfiles lists instance profiles by their names.
func (s *Service) ListInstanceProfiles(ctx context.Context, in *iamapi.ListInstanceProfilesInput) (
	*iamapi.ListInstanceProfilesOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListInstanceProfiles, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListInstanceProfilesOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		all, err := listTx(ctx, tx, page, profileKind, account, in.PathPrefix, "")
		if err != nil {
			return err
		}
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.InstanceProfiles, err = profilesTx(ctx, tx, all)
		return err
	})
}

// ListInstanceProfilesForRole lists the instance profiles of a role by their names.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *iamapi.ListInstanceProfilesForRoleInput) (
	*iamapi.ListInstanceProfilesForRoleOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListInstanceProfilesForRole, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListInstanceProfilesForRoleOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, roleKind, account, in.RoleName); err != nil {
			return err
		}
		all, err := listTx(ctx, tx, page, profileKind, account, nil, "role_name = ?", in.RoleName)
		if err != nil {
			return err
		}
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.InstanceProfiles, err = profilesTx(ctx, tx, all)
		return err
	})
}

// AddRoleToInstanceProfile gives an instance profile its role, of which it can have one.
func (s *Service) AddRoleToInstanceProfile(ctx context.Context, in *iamapi.AddRoleToInstanceProfileInput) (
	*iamapi.AddRoleToInstanceProfileOutput, error,
) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, profileKind, account, in.InstanceProfileName); err != nil {
			return err
		}
		if _, err := modifiableTx(ctx, tx, roleKind, account, in.RoleName); err != nil {
			return err
		}
		n, err := execTx(ctx, tx, "UPDATE iam_instance_profile SET role_name = ? WHERE account = ? AND name = ? AND role_name = ''",
			in.RoleName, account, in.InstanceProfileName)
		if err == nil && n == 0 {
			err = quota("InstanceSessionsPerInstanceProfile", 1)
		}
		return err
	})
}

// RemoveRoleFromInstanceProfile takes the role of an instance profile away.
func (s *Service) RemoveRoleFromInstanceProfile(ctx context.Context, in *iamapi.RemoveRoleFromInstanceProfileInput) (
	*iamapi.RemoveRoleFromInstanceProfileOutput, error,
) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, profileKind, account, in.InstanceProfileName); err != nil {
			return err
		}
		n, err := execTx(ctx, tx, "UPDATE iam_instance_profile SET role_name = '' WHERE account = ? AND name = ? AND role_name = ?",
			account, in.InstanceProfileName, in.RoleName)
		if err == nil && n == 0 {
			err = roleKind.notFound(in.RoleName)
		}
		return err
	})
}

// DeleteInstanceProfile removes an instance profile without a role.
func (s *Service) DeleteInstanceProfile(ctx context.Context, in *iamapi.DeleteInstanceProfileInput) (
	*iamapi.DeleteInstanceProfileOutput, error,
) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, profileKind, account, in.InstanceProfileName)
		if err == nil {
			err = unusedTx(ctx, tx, e, use{"iam_instance_profile WHERE account = ? AND name = ? AND role_name <> ''",
				"must remove roles from instance profile first."})
		}
		if err != nil {
			return err
		}
		return removeTx(ctx, tx, e)
	})
}
