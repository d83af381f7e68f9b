package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func (e *entity) group() iamapi.Group {
	return iamapi.Group{Arn: e.arn(), CreateDate: e.created, GroupId: e.id, GroupName: e.name, Path: e.path}
}

// CreateGroup makes a group without members.
func (s *Service) CreateGroup(ctx context.Context, in *iamapi.CreateGroupInput) (*iamapi.CreateGroupOutput, error) {
	out := &iamapi.CreateGroupOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := freeTx(ctx, tx, groupKind, account, in.GroupName); err != nil {
			return err
		}
		_, err := execTx(ctx, tx, "INSERT INTO iam_group (account, name, path, group_id, created_at) VALUES (?, ?, ?, ?, ?)",
			account, in.GroupName, orRoot(in.Path), groupKind.newID(), now())
		if err != nil {
			return err
		}
		e, err := findTx(ctx, tx, groupKind, account, in.GroupName)
		out.Group = e.group()
		return err
	})
}

// GetGroup describes a group with its members, by their names.
func (s *Service) GetGroup(ctx context.Context, in *iamapi.GetGroupInput) (*iamapi.GetGroupOutput, error) {
	page, err := openPage(ctx, s, iamapi.GetGroup, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.GetGroupOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, groupKind, account, in.GroupName)
		if err != nil {
			return err
		}
		out.Group = e.group()
		all, err := listTx(ctx, tx, page, userKind, account, nil,
			"name IN (SELECT user_name FROM iam_membership WHERE account = ? AND group_name = ?)", account, e.name)
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.Users = mapped(all, (*entity).user)
		return err
	})
}

// ListGroups lists groups by their names.
func (s *Service) ListGroups(ctx context.Context, in *iamapi.ListGroupsInput) (*iamapi.ListGroupsOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListGroups, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListGroupsOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		all, err := listTx(ctx, tx, page, groupKind, account, in.PathPrefix, "")
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.Groups = mapped(all, (*entity).group)
		return err
	})
}

// ListGroupsForUser lists the groups of a user by their names.
func (s *Service) ListGroupsForUser(ctx context.Context, in *iamapi.ListGroupsForUserInput) (
	*iamapi.ListGroupsForUserOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListGroupsForUser, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListGroupsForUserOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, userKind, account, in.UserName); err != nil {
			return err
		}
		all, err := listTx(ctx, tx, page, groupKind, account, nil,
			"name IN (SELECT group_name FROM iam_membership WHERE account = ? AND user_name = ?)", account, in.UserName)
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.Groups = mapped(all, (*entity).group)
		return err
	})
}

// UpdateGroup gives a group another name or path.
func (s *Service) UpdateGroup(ctx context.Context, in *iamapi.UpdateGroupInput) (*iamapi.UpdateGroupOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, groupKind, account, in.GroupName)
		if err != nil {
			return err
		}
		if in.NewPath != nil {
			_, err := execTx(ctx, tx, "UPDATE iam_group SET path = ? WHERE account = ? AND name = ?", *in.NewPath, account, e.name)
			if err != nil {
				return err
			}
		}
		if in.NewGroupName == nil || *in.NewGroupName == e.name {
			return nil
		}
		if err := renamableTx(ctx, tx, e, *in.NewGroupName); err != nil {
			return err
		}
		return runTx(ctx, tx, []any{*in.NewGroupName, account, e.name},
			"UPDATE iam_group SET name = ? WHERE account = ? AND name = ?",
			"UPDATE iam_membership SET group_name = ? WHERE account = ? AND group_name = ?",
			"UPDATE iam_attachment SET entity = ? WHERE account = ? AND kind = 'group' AND entity = ?",
			"UPDATE iam_inline_policy SET entity = ? WHERE account = ? AND kind = 'group' AND entity = ?")
	})
}

// DeleteGroup removes a group without members and policies.
func (s *Service) DeleteGroup(ctx context.Context, in *iamapi.DeleteGroupInput) (*iamapi.DeleteGroupOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, groupKind, account, in.GroupName)
		if err == nil {
			err = unusedTx(ctx, tx, e, use{"iam_membership WHERE account = ? AND group_name = ?", "must remove users from group first."})
		}
		if err != nil {
			return err
		}
		return removeTx(ctx, tx, e)
	})
}

// AddUserToGroup makes a user a member; one who is a member stays it.
func (s *Service) AddUserToGroup(ctx context.Context, in *iamapi.AddUserToGroupInput) (
	*iamapi.AddUserToGroupOutput, error,
) {
	return nil, s.changeMembers(ctx, in.GroupName, in.UserName, func(ctx context.Context, tx *meta.Tx, account string) error {
		_, err := execTx(ctx, tx, `INSERT INTO iam_membership (account, group_name, user_name) VALUES (?, ?, ?)
			ON CONFLICT DO NOTHING`, account, in.GroupName, in.UserName)
		if err != nil {
			return err
		}
		n, err := countTx(ctx, tx, "iam_membership WHERE account = ? AND user_name = ?", account, in.UserName)
		if err == nil && n > maxGroups {
			err = quota("GroupsPerUser", maxGroups)
		}
		return err
	})
}

// RemoveUserFromGroup ends a membership; one who is no member stays so.
func (s *Service) RemoveUserFromGroup(ctx context.Context, in *iamapi.RemoveUserFromGroupInput) (
	*iamapi.RemoveUserFromGroupOutput, error,
) {
	return nil, s.changeMembers(ctx, in.GroupName, in.UserName, func(ctx context.Context, tx *meta.Tx, account string) error {
		return runTx(ctx, tx, []any{account, in.GroupName, in.UserName},
			"DELETE FROM iam_membership WHERE account = ? AND group_name = ? AND user_name = ?")
	})
}

// changeMembers runs fn in a transaction in which the group and the user exist.
func (s *Service) changeMembers(
	ctx context.Context, group, user string, fn func(context.Context, *meta.Tx, string) error,
) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := findTx(ctx, tx, groupKind, account, group); err != nil {
			return err
		}
		if _, err := findTx(ctx, tx, userKind, account, user); err != nil {
			return err
		}
		return fn(ctx, tx, account)
	})
}
