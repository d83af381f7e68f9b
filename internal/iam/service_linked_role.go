package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// EnsureServiceLinkedRoleTx makes the service-linked role of AWS Backup, if the account has none yet.
func (s *Service) EnsureServiceLinkedRoleTx(ctx context.Context, tx *meta.Tx, account, service string) (created bool, err error) {
	if service != caller.ServiceName {
		return false, fmt.Errorf("service %q has no service-linked role", service)
	}
	var id string
	err = tx.QueryRow(ctx, "SELECT role_id FROM iam_role WHERE account = ? AND name = 'AWSServiceRoleForBackup'", account).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	r := newRole{account: account, name: "AWSServiceRoleForBackup", path: "/aws-service-role/" + service + "/", service: service,
		policies: []string{"arn:aws:iam::aws:policy/aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup"}}
	return true, r.insert(ctx, tx, meta.Micros(time.Now()))
}
