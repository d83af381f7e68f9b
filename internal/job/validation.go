package job

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// Validation is what somebody found out about what a restore job made.
type Validation struct {
	Status  backupapi.RestoreValidationStatus // empty until somebody says
	Message string
}

// PutRestoreValidationResult records whether what a restore job made is good. VALIDATING may be said first; what is said after
// that stays. Unlike on AWS, the job need not be one of a restore testing plan.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing-validation.html.
func (s *Service) PutRestoreValidationResult(ctx context.Context, in *backupapi.PutRestoreValidationResultInput) (*backupapi.PutRestoreValidationResultOutput, error) {
	c := caller.From(ctx)
	return nil, s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		r, err := restoreTx(ctx, tx, in.RestoreJobId, tx.ForUpdate())
		if r, err = owned(c, in.RestoreJobId, r, err); err != nil {
			return err
		}
		switch {
		case r.State != Completed:
			return backupapi.InvalidRequestExceptionf("Restore job %s cannot be validated: its state is %s", r.ID, r.State)
		case r.Validation.Status != "" && r.Validation.Status != backupapi.RestoreValidationStatusValidating:
			return backupapi.InvalidRequestExceptionf("Restore job %s has been validated already: %s", r.ID, r.Validation.Status)
		}
		message := ""
		if in.ValidationStatusMessage != nil {
			message = *in.ValidationStatusMessage
		}
		if len(message) > maxValidation {
			return backupapi.InvalidParameterValueExceptionf("ValidationStatusMessage has more than %d bytes", maxValidation)
		}
		err = exec1(ctx, tx, "UPDATE restore_job SET validation_status = ?, validation_message = ? WHERE id = ?", string(in.ValidationStatus), message, r.ID)
		if err != nil {
			return fmt.Errorf("validate restore job %s: %w", r.ID, err)
		}
		return nil
	})
}

// maxValidation is the greatest length of a message.
const maxValidation = 4096
