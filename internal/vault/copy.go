package vault

import (
	"context"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// CopyableTx finds a recovery point of a vault for a copy, and locks the vault's row, under which the caller records the
// copy. days is the retention of the copy, 0 for ever: that of a lifecycle, which may be nil, or else that of the recovery
// point. What is missing or cannot be copied is an API error; d is nil only if it is missing.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html.
func (s *Service) CopyableTx(ctx context.Context, tx *meta.Tx, account, region, name, arn string, l *backupapi.Lifecycle,
) (d *backupapi.DescribeRecoveryPointOutput, days int64, err error) {
	if err := checkARN(arn); err != nil {
		return nil, 0, err
	}
	v, err := byName(ctx, tx, account, region, name, tx.ForUpdate())
	if err != nil {
		return nil, 0, err
	}
	p, err := readIn(ctx, tx, v, arn)
	if err != nil {
		return nil, 0, err
	}
	if err := checkCopy(p); err != nil {
		return describe(p), 0, err
	}
	if days, err = retention(l); err != nil {
		return describe(p), 0, err
	}
	if days == 0 {
		return describe(p), p.DeleteAfterDays, nil
	}
	return describe(p), days, s.checkInFuture(p, days)
}

// NestedTx returns the ARNs of the recovery points that are nested in a composite one, in the order of their members.
func (s *Service) NestedTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) ([]string, error) {
	children, err := selectPoints(ctx, tx, childrenOf+" ORDER BY p.member_id, p.arn", vaultUUID, arn)
	var all []string
	for _, c := range children {
		all = append(all, c.ARN)
	}
	return all, err
}

// checkCopy refuses what cannot be copied. The refusal is an API error.
func checkCopy(p Point) error {
	switch {
	case !p.ColdSince.IsZero():
		return backupapi.InvalidRequestExceptionf("Recovery point %s cannot be copied: it is in cold storage", p.ARN)
	case p.Continuous:
		return backupapi.InvalidRequestExceptionf("Recovery point %s cannot be copied: it is a continuous backup", p.ARN)
	case p.Status != Completed && p.Status != Partial:
		return backupapi.InvalidRequestExceptionf("Recovery point %s cannot be copied while its status is %s", p.ARN, p.Status)
	}
	return nil
}

// checkInFuture refuses a retention under which a copy of a recovery point would be due for deletion already. The refusal
// is an API error.
func (s *Service) checkInFuture(p Point, days int64) error {
	if at := deleteAt(p.CreatedAt, days); !at.After(s.now()) {
		return backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. DeleteAfterDays counts from the creation of the "+
			"recovery point and puts the deletion of the copy into the past: %s", at.Format("2006-01-02T15:04:05Z"))
	}
	return nil
}
