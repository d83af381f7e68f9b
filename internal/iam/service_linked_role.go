package iam

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// linked is what a service's own role is made of.
type linked struct{ service, name, policy, description string }

// linkedRoles are the roles of https://docs.aws.amazon.com/aws-backup/latest/devguide/using-service-linked-roles.html.
func linkedRoles() []linked {
	return []linked{
		{caller.ServiceName, "AWSServiceRoleForBackup", "AWSBackupServiceLinkedRolePolicyForBackup",
			"Lets AWS Backup create and delete backups on your behalf."},
		{"restore-testing.backup.amazonaws.com", "AWSServiceRoleForBackupRestoreTesting", "AWSServiceRolePolicyForBackupRestoreTesting",
			"Lets AWS Backup test restores on your behalf."},
		{"reports.backup.amazonaws.com", "AWSServiceRoleForBackupReports", "AWSServiceRolePolicyForBackupReports",
			"Lets AWS Backup make reports on your behalf."},
	}
}

func linkedRole(service string) (linked, error) {
	for _, l := range linkedRoles() {
		if l.service == service {
			return l, nil
		}
	}
	return linked{}, iamapi.ServiceNotSupportedExceptionf("The service %s has no service-linked role here.", service)
}

func (l *linked) path() string { return serviceRolePath + l.service + "/" }

// insertTx makes the role.
func (l *linked) insertTx(ctx context.Context, tx *meta.Tx, account string, description *string) (*role, error) {
	if err := freeTx(ctx, tx, roleKind, account, l.name); err != nil {
		return nil, err
	}
	r := &role{
		entity: entity{kind: roleKind, account: account, name: l.name, path: l.path(), service: l.service},
		trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + l.service +
			`"},"Action":"sts:AssumeRole"}]}`,
		description: l.description, session: maxSession,
	}
	if description != nil {
		r.description = *description
	}
	if err := r.insertTx(ctx, tx, "{}"); err != nil {
		return nil, err
	}
	return r, insertAttachmentTx(ctx, tx, &r.entity, awsPolicyPrefix+"aws-service-role/"+l.policy)
}

// EnsureServiceLinkedRoleTx makes the role of a service in an account, unless it exists.
func (s *Service) EnsureServiceLinkedRoleTx(ctx context.Context, tx *meta.Tx, account, service string) (
	created bool, err error,
) {
	l, err := linkedRole(service)
	if err != nil {
		return false, err
	}
	const rows = "iam_role WHERE account = ? AND name = ?"
	if n, err := countTx(ctx, tx, rows, account, l.name); n > 0 || err != nil {
		return false, err
	}
	if err := touchTx(ctx, tx); err != nil { // waits for others that make it
		return false, err
	}
	if n, err := countTx(ctx, tx, rows, account, l.name); n > 0 || err != nil {
		return false, err
	}
	_, err = l.insertTx(ctx, tx, account, nil)
	return err == nil, err
}

// CreateServiceLinkedRole makes the role with which a service acts for itself.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, in *iamapi.CreateServiceLinkedRoleInput) (
	*iamapi.CreateServiceLinkedRoleOutput, error,
) {
	l, err := linkedRole(in.AWSServiceName)
	if err != nil {
		return nil, err
	}
	if in.CustomSuffix != nil {
		return nil, iamapi.InvalidInputExceptionf("Custom suffix is not allowed for %s", l.service)
	}
	out := &iamapi.CreateServiceLinkedRoleOutput{Role: &iamapi.Role{}}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		r, err := l.insertTx(ctx, tx, account, in.Description)
		if err == nil {
			*out.Role = r.describe()
		}
		if _, taken := err.(*iamapi.EntityAlreadyExistsException); taken {
			err = iamapi.InvalidInputExceptionf("Service role name %s has been taken in this account, please try a different suffix.", l.name)
		}
		return err
	})
}

// DeleteServiceLinkedRole removes the role of a service with its policies. It is done when the answer is sent.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, in *iamapi.DeleteServiceLinkedRoleInput) (
	*iamapi.DeleteServiceLinkedRoleOutput, error,
) {
	out := &iamapi.DeleteServiceLinkedRoleOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, roleKind, account, in.RoleName)
		if err != nil {
			return err
		}
		if e.service == "" {
			return iamapi.InvalidInputExceptionf("The role %s is not a service-linked role.", e.name)
		}
		err = runTx(ctx, tx, []any{account, e.name}, "DELETE FROM iam_attachment WHERE account = ? AND kind = 'role' AND entity = ?")
		if err == nil {
			err = removeTx(ctx, tx, e)
		}
		if err != nil {
			return err
		}
		out.DeletionTaskId = "task" + e.path + e.name + "/" + uuid.NewString()
		_, err = execTx(ctx, tx, "INSERT INTO iam_role_deletion (account, task_id, created_at) VALUES (?, ?, ?)", account, out.DeletionTaskId, now())
		return err
	})
}

// GetServiceLinkedRoleDeletionStatus answers what became of a deletion.
func (s *Service) GetServiceLinkedRoleDeletionStatus(
	ctx context.Context, in *iamapi.GetServiceLinkedRoleDeletionStatusInput,
) (*iamapi.GetServiceLinkedRoleDeletionStatusOutput, error) {
	out := &iamapi.GetServiceLinkedRoleDeletionStatusOutput{Status: iamapi.DeletionTaskStatusTypeSucceeded}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		n, err := countTx(ctx, tx, "iam_role_deletion WHERE account = ? AND task_id = ?", account, in.DeletionTaskId)
		if err == nil && n == 0 {
			err = iamapi.NoSuchEntityExceptionf("Deletion task %s cannot be found.", in.DeletionTaskId)
		}
		return err
	})
}

// roleOfTask is the ARN of the role that a deletion task names.
func roleOfTask(account, task string) string {
	rest, ok := strings.CutPrefix(task, "task"+serviceRolePath)
	if i := strings.LastIndex(rest, "/"); ok && i > 0 {
		return roleKind.arn(account, serviceRolePath, rest[:i])
	}
	return "*"
}
