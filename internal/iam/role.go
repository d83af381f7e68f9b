package iam

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// role is a role with what only roles have.
type role struct {
	entity
	trust       string
	description string
	session     int // seconds
	used        int64
	usedRegion  string
}

const roleColumns = "trust, description, max_session, used_at, used_region"

func scanRole(row interface{ Scan(...any) error }) (*role, error) {
	r := &role{entity: entity{kind: roleKind}}
	return r, r.scan(row, &r.trust, &r.description, &r.session, &r.used, &r.usedRegion)
}

func roleTx(ctx context.Context, tx *meta.Tx, account, name string) (*role, error) {
	r, err := scanRole(tx.QueryRow(ctx, "SELECT "+roleKind.columns()+", "+roleColumns+" FROM iam_role WHERE account = ? AND name = ?", account, name))
	return r, orNotFound(err, roleKind.notFound(name))
}

// describe is a role in the form of answers to lists, which leave out its tags, its boundary and its last use.
func (r *role) describe() iamapi.Role {
	out := iamapi.Role{Arn: r.arn(), AssumeRolePolicyDocument: new(encode(r.trust)), CreateDate: r.created,
		MaxSessionDuration: &r.session, Path: r.path, RoleId: r.id, RoleName: r.name}
	if r.description != "" {
		out.Description = &r.description
	}
	return out
}

// describeTx is a role in full.
func (r *role) describeTx(ctx context.Context, tx *meta.Tx) (iamapi.Role, error) {
	out := r.describe()
	out.PermissionsBoundary = r.attachedBoundary()
	out.RoleLastUsed = &iamapi.RoleLastUsed{}
	if r.used > 0 {
		out.RoleLastUsed.LastUsedDate = new(meta.FromMicros(r.used).Truncate(time.Second))
		out.RoleLastUsed.Region = &r.usedRegion
	}
	tags, err := tagsTx(ctx, tx, &r.entity)
	out.Tags = tags
	return out, err
}

// trustTx checks a trust policy and finds the unique ids of the principals that it names, as JSON.
func trustTx(ctx context.Context, tx *meta.Tx, document string) (ids string, err error) {
	if size(document) > maxTrustSize {
		return "", quota("ACLSizePerRole", maxTrustSize)
	}
	d, err := parse(document, policy.Trust)
	if err != nil {
		return "", err
	}
	known, unknown, err := resolveTx(ctx, tx, d.Principals())
	if err == nil && unknown != "" {
		err = iamapi.MalformedPolicyDocumentExceptionf("Invalid principal in policy: %s", quoted(unknown))
	}
	text, _ := json.Marshal(known)
	return string(text), err
}

// CreateRole makes a role, which may do nothing yet.
func (s *Service) CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
	if under(orRoot(in.Path), new(serviceRolePath)) {
		return nil, iamapi.InvalidInputExceptionf("The path %s is for service-linked roles, which CreateServiceLinkedRole makes.", serviceRolePath)
	}
	out := &iamapi.CreateRoleOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := freeTx(ctx, tx, roleKind, account, in.RoleName); err != nil {
			return err
		}
		ids, err := trustTx(ctx, tx, in.AssumeRolePolicyDocument)
		if err == nil {
			err = checkBoundaryTx(ctx, tx, account, in.PermissionsBoundary)
		}
		if err != nil {
			return err
		}
		r := &role{
			entity: entity{kind: roleKind, account: account, name: in.RoleName, path: orRoot(in.Path), boundary: deref(in.PermissionsBoundary)},
			trust:  in.AssumeRolePolicyDocument, description: deref(in.Description), session: maxSession,
		}
		if in.MaxSessionDuration != nil {
			r.session = *in.MaxSessionDuration
		}
		if err = r.insertTx(ctx, tx, ids); err == nil {
			err = putTagsTx(ctx, tx, &r.entity, in.Tags)
		}
		if err == nil {
			out.Role, err = r.describeTx(ctx, tx)
		}
		out.Role.RoleLastUsed = nil // not used, of course
		return err
	})
}

// insertTx stores a new role, which gets an id and the time.
func (r *role) insertTx(ctx context.Context, tx *meta.Tx, trustIDs string) error {
	at := now()
	r.id, r.created = roleKind.newID(), meta.FromMicros(at)
	_, err := execTx(ctx, tx, `INSERT INTO iam_role (account, name, path, role_id, trust, trust_ids, description, max_session, boundary,
		service, used_at, used_region, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', ?)`,
		r.account, r.name, r.path, r.id, r.trust, trustIDs, r.description, r.session, r.boundary, r.service, at)
	return err
}

// GetRole describes a role.
func (s *Service) GetRole(ctx context.Context, in *iamapi.GetRoleInput) (*iamapi.GetRoleOutput, error) {
	out := &iamapi.GetRoleOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		r, err := roleTx(ctx, tx, account, in.RoleName)
		if err == nil {
			out.Role, err = r.describeTx(ctx, tx)
		}
		return err
	})
}

// ListRoles lists roles by their names.
func (s *Service) ListRoles(ctx context.Context, in *iamapi.ListRolesInput) (*iamapi.ListRolesOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListRoles, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListRolesOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		prefix := orRoot(in.PathPrefix)
		all, err := selectTx(ctx, tx, func(rows *sql.Rows) (*role, error) { return scanRole(rows) },
			"SELECT "+roleKind.columns()+", "+roleColumns+` FROM iam_role
			WHERE account = ? AND name > ? AND substr(path, 1, ?) = ? ORDER BY name LIMIT ?`,
			account, after(page, 0), len(prefix), prefix, page.Limit+1)
		all, out.IsTruncated, out.Marker = cut(page, all, func(r *role) []string { return byName(&r.entity) })
		out.Roles = mapped(all, (*role).describe)
		return err
	})
}

// UpdateRole changes the description and the longest session of a role. Of a service-linked role the description may be changed.
func (s *Service) UpdateRole(ctx context.Context, in *iamapi.UpdateRoleInput) (*iamapi.UpdateRoleOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		r, err := roleTx(ctx, tx, account, in.RoleName)
		if err != nil {
			return err
		}
		if in.MaxSessionDuration != nil {
			if r.service != "" {
				return protected(r.name)
			}
			r.session = *in.MaxSessionDuration
		}
		if in.Description != nil {
			r.description = *in.Description
		}
		return r.updateTx(ctx, tx)
	})
}

func (r *role) updateTx(ctx context.Context, tx *meta.Tx) error {
	return runTx(ctx, tx, []any{r.description, r.session, r.account, r.name},
		"UPDATE iam_role SET description = ?, max_session = ? WHERE account = ? AND name = ?")
}

// UpdateRoleDescription changes the description of a role.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *iamapi.UpdateRoleDescriptionInput) (
	*iamapi.UpdateRoleDescriptionOutput, error,
) {
	out := &iamapi.UpdateRoleDescriptionOutput{Role: &iamapi.Role{}}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		r, err := roleTx(ctx, tx, account, in.RoleName)
		if err != nil {
			return err
		}
		r.description = in.Description
		*out.Role = r.describe()
		return r.updateTx(ctx, tx)
	})
}

// UpdateAssumeRolePolicy replaces the trust policy of a role.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *iamapi.UpdateAssumeRolePolicyInput) (
	*iamapi.UpdateAssumeRolePolicyOutput, error,
) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		if _, err := modifiableTx(ctx, tx, roleKind, account, in.RoleName); err != nil {
			return err
		}
		ids, err := trustTx(ctx, tx, in.PolicyDocument)
		if err != nil {
			return err
		}
		return runTx(ctx, tx, []any{in.PolicyDocument, ids, account, in.RoleName},
			"UPDATE iam_role SET trust = ?, trust_ids = ? WHERE account = ? AND name = ?")
	})
}

// DeleteRole removes a role that has no policies and is in no instance profile.
func (s *Service) DeleteRole(ctx context.Context, in *iamapi.DeleteRoleInput) (*iamapi.DeleteRoleOutput, error) {
	return nil, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := modifiableTx(ctx, tx, roleKind, account, in.RoleName)
		if err == nil {
			err = unusedTx(ctx, tx, e, use{"iam_instance_profile WHERE account = ? AND role_name = ?",
				"must remove roles from instance profile first."})
		}
		if err != nil {
			return err
		}
		return removeTx(ctx, tx, e)
	})
}
