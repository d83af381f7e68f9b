package job_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
)

func TestPutRestoreValidationResult(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.restore(&backupapi.StartRestoreJobInput{RecoveryPointArn: pointARN, Metadata: here, IamRoleArn: new(role)}).ID
		_, l := f.claimRestore(id)
		put := func(id string, status backupapi.RestoreValidationStatus) error {
			_, err := f.PutRestoreValidationResult(f.ctx, &backupapi.PutRestoreValidationResultInput{
				RestoreJobId: id, ValidationStatus: status, ValidationStatusMessage: new("checked " + string(status))})
			return err
		}
		refused := func(what string, err error, text string) {
			t.Helper()
			if e, ok := errors.AsType[*backupapi.InvalidRequestException](err); !ok || !strings.Contains(e.Message, text) {
				t.Errorf("%s: %v, want InvalidRequestException with %q", what, err, text)
			}
		}
		refused("of a running job", put(id, backupapi.RestoreValidationStatusSuccessful), "its state is RUNNING")
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		for _, status := range []backupapi.RestoreValidationStatus{
			backupapi.RestoreValidationStatusValidating, backupapi.RestoreValidationStatusFailed} {
			if err := put(id, status); err != nil {
				t.Fatal(err)
			}
			d, err := f.DescribeRestoreJob(f.ctx, &backupapi.DescribeRestoreJobInput{RestoreJobId: id})
			if err != nil || *d.ValidationStatus != status || *d.ValidationStatusMessage != "checked "+string(status) {
				t.Errorf("after %s: %+v, %v", status, d, err)
			}
		}
		refused("a second time", put(id, backupapi.RestoreValidationStatusSuccessful), "validated already: FAILED")
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](put("none", backupapi.RestoreValidationStatusFailed)); !ok {
			t.Error("validation of no job was not refused")
		}
	})
}
