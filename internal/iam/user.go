package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// user is an entity in the form of answers to lists, which leave out its tags and its boundary.
func (e *entity) user() iamapi.User {
	return iamapi.User{Arn: e.arn(), CreateDate: e.created, Path: e.path, UserId: e.id, UserName: e.name}
}

// describeUserTx is a user in full.
func describeUserTx(ctx context.Context, tx *meta.Tx, e *entity) (iamapi.User, error) {
	u := e.user()
	u.PermissionsBoundary = e.attachedBoundary()
	tags, err := tagsTx(ctx, tx, e)
	u.Tags = tags
	return u, err
}

// CreateUser makes a user, who may do nothing yet.
func (s *Service) CreateUser(ctx context.Context, in *iamapi.CreateUserInput) (*iamapi.CreateUserOutput, error) {
	out := &iamapi.CreateUserOutput{User: &iamapi.User{}}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := freeTx(ctx, tx, userKind, account, in.UserName); err != nil {
			return err
		}
		if err := checkBoundaryTx(ctx, tx, account, in.PermissionsBoundary); err != nil {
			return err
		}
		_, err := execTx(ctx, tx, "INSERT INTO iam_user (account, name, user_id, created_at, path, boundary) VALUES (?, ?, ?, ?, ?, ?)",
			account, in.UserName, userKind.newID(), now(), orRoot(in.Path), deref(in.PermissionsBoundary))
		if err != nil {
			return err
		}
		e, err := findTx(ctx, tx, userKind, account, in.UserName)
		if err == nil {
			err = putTagsTx(ctx, tx, e, in.Tags)
		}
		if err == nil {
			*out.User, err = describeUserTx(ctx, tx, e)
		}
		return err
	})
}

// GetUser describes a user, who is the caller if none is named.
func (s *Service) GetUser(ctx context.Context, in *iamapi.GetUserInput) (*iamapi.GetUserOutput, error) {
	out := &iamapi.GetUserOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if in.UserName == nil && caller.From(ctx).Kind == caller.Root {
			return rootTx(ctx, tx, account, &out.User)
		}
		e, err := userTx(ctx, tx, in.UserName)
		if err == nil {
			out.User, err = describeUserTx(ctx, tx, e)
		}
		return err
	})
}

// rootTx describes the owner of an account as a user, who has no name.
func rootTx(ctx context.Context, tx *meta.Tx, account string, u *iamapi.User) error {
	var created int64
	err := tx.QueryRow(ctx, "SELECT created_at FROM iam_account WHERE id = ?", account).Scan(&created)
	*u = iamapi.User{Arn: "arn:aws:iam::" + account + ":root", CreateDate: meta.FromMicros(created), Path: "/", UserId: account}
	return orNotFound(err, iamapi.NoSuchEntityExceptionf("The account %s cannot be found.", account))
}

// ListUsers lists users by their names.
func (s *Service) ListUsers(ctx context.Context, in *iamapi.ListUsersInput) (*iamapi.ListUsersOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListUsers, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListUsersOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		all, err := listTx(ctx, tx, page, userKind, account, in.PathPrefix, "")
		all, out.IsTruncated, out.Marker = cut(page, all, byName)
		out.Users = mapped(all, (*entity).user)
		return err
	})
}

// UpdateUser gives a user another name or path, which changes the ARN but not the unique id.
func (s *Service) UpdateUser(ctx context.Context, in *iamapi.UpdateUserInput) (*iamapi.UpdateUserOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, userKind, account, in.UserName)
		if err != nil {
			return err
		}
		if in.NewPath != nil {
			_, err := execTx(ctx, tx, "UPDATE iam_user SET path = ? WHERE account = ? AND name = ?", *in.NewPath, account, e.name)
			if err != nil {
				return err
			}
		}
		if in.NewUserName == nil || *in.NewUserName == e.name {
			return nil
		}
		if err := renamableTx(ctx, tx, e, *in.NewUserName); err != nil {
			return err
		}
		return renameUserTx(ctx, tx, account, e.name, *in.NewUserName)
	})
}

// renamableTx checks that nothing else has the new name of a thing.
func renamableTx(ctx context.Context, tx *meta.Tx, e *entity, name string) error {
	n, err := countTx(ctx, tx, e.kind.table+" WHERE account = ? AND lower(name) = lower(?) AND name <> ?", e.account, name, e.name)
	if err == nil && n > 0 {
		err = e.kind.exists(name)
	}
	return err
}

// renameUserTx renames a user. Access keys refer to an existing user at any time, and two users cannot have names that differ by
// case only; so a copy of the user holds the keys under a name that no user can have, while the user changes.
func renameUserTx(ctx context.Context, tx *meta.Tx, account, from, to string) error {
	aside := "/" + from
	_, err := execTx(ctx, tx, `INSERT INTO iam_user (account, name, user_id, created_at)
		SELECT account, ?, '', created_at FROM iam_user WHERE account = ? AND name = ?`, aside, account, from)
	if err != nil {
		return err
	}
	const keys = "UPDATE iam_access_key SET user_name = ? WHERE account = ? AND user_name = ?"
	if err := runTx(ctx, tx, []any{aside, account, from}, keys); err != nil {
		return err
	}
	err = runTx(ctx, tx, []any{to, account, from}, "UPDATE iam_user SET name = ? WHERE account = ? AND name = ?",
		"UPDATE iam_membership SET user_name = ? WHERE account = ? AND user_name = ?",
		"UPDATE iam_attachment SET entity = ? WHERE account = ? AND kind = 'user' AND entity = ?",
		"UPDATE iam_inline_policy SET entity = ? WHERE account = ? AND kind = 'user' AND entity = ?",
		"UPDATE iam_tag SET entity = ? WHERE account = ? AND kind = 'user' AND entity = ?")
	if err != nil {
		return err
	}
	if err := runTx(ctx, tx, []any{to, account, aside}, keys); err != nil {
		return err
	}
	return runTx(ctx, tx, []any{account, aside}, "DELETE FROM iam_user WHERE account = ? AND name = ?")
}

// DeleteUser removes a user who has nothing left: no groups, access keys or policies.
func (s *Service) DeleteUser(ctx context.Context, in *iamapi.DeleteUserInput) (*iamapi.DeleteUserOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, userKind, account, in.UserName)
		if err != nil {
			return err
		}
		err = unusedTx(ctx, tx, e,
			use{"iam_membership WHERE account = ? AND user_name = ?", "must remove users from group first."},
			use{"iam_access_key WHERE account = ? AND user_name = ?", "must delete access keys first."})
		if err != nil {
			return err
		}
		return removeTx(ctx, tx, e)
	})
}

// use is what can stand against the deletion of a thing: rows, and what to do about them.
type use struct{ rows, advice string }

// unusedTx checks that nothing stands against the deletion of a thing: uses of its own, attached and inline policies.
func unusedTx(ctx context.Context, tx *meta.Tx, e *entity, uses ...use) error {
	uses = append(uses,
		use{"iam_attachment WHERE account = ? AND entity = ? AND kind = '" + e.kind.name + "'", "must detach all policies first."},
		use{"iam_inline_policy WHERE account = ? AND entity = ? AND kind = '" + e.kind.name + "'", "must delete policies first."})
	for _, u := range uses {
		n, err := countTx(ctx, tx, u.rows, e.account, e.name)
		if err != nil {
			return err
		}
		if n > 0 {
			return iamapi.DeleteConflictExceptionf("Cannot delete entity, %s", u.advice)
		}
	}
	return nil
}

// removeTx removes a thing and its tags.
func removeTx(ctx context.Context, tx *meta.Tx, e *entity) error {
	return runTx(ctx, tx, []any{e.account, e.name}, "DELETE FROM "+e.kind.table+" WHERE account = ? AND name = ?",
		"DELETE FROM iam_tag WHERE account = ? AND entity = ? AND kind = '"+e.kind.name+"'")
}
