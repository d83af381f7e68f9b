package vault

import (
	"context"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// CopyableTx finds a recovery point of a vault of the caller for a copy, and locks the vault's row, under which the caller
// records the copy. days is the retention of the copy, 0 for ever: that of a lifecycle, which may be nil, or else that of
// the recovery point. What is missing or cannot be copied is an API error.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html.
func (s *Service) CopyableTx(ctx context.Context, tx *meta.Tx, name, arn string, l *backupapi.Lifecycle,
) (d *backupapi.DescribeRecoveryPointOutput, days int64, err error) {
	if err := checkARN(arn); err != nil {
		return nil, 0, err
	}
	_, p, err := s.read(ctx, tx, name, arn, tx.ForUpdate())
	if err == nil {
		err = checkCopy(p)
	}
	if err != nil {
		return nil, 0, err
	}
	if days, err = retention(l); err != nil {
		return nil, 0, err
	}
	if days == 0 {
		return describe(p), p.DeleteAfterDays, nil
	}
	return describe(p), days, s.checkInFuture(p, days)
}

// checkCopy refuses what cannot be copied. The refusal is an API error.
func checkCopy(p Point) error {
	switch {
	case p.IsParent:
		return backupapi.InvalidRequestExceptionf("Recovery point %s is composite: this version of Lockfast does not copy it whole. "+
			"Copy its nested recovery points, of which it is the parent", p.ARN)
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
