package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

const streamARN = "arn:aws:backup:eu-west-1:123456789012:recovery-point:continuous:x-00000001"

// stream makes a continuous recovery point with a retention of 7 days.
func (f *fixture) stream(id string) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := f.CreatePointTx(ctx, tx, vault.NewPoint{VaultUUID: id, ARN: streamARN, ResourceARN: dataARN, ResourceType: "S3",
			RoleARN: role, JobID: "job", DeleteAfterDays: 7, Continuous: true})
		if err != nil {
			return err
		}
		return f.CompletePointTx(ctx, tx, id, streamARN, completion(1))
	})
}

func (f *fixture) disassociate(arn string) error {
	_, err := f.DisassociateRecoveryPoint(f.ctx, &backupapi.DisassociateRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: arn})
	return err
}

// DIS-1 to DIS-6: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DisassociateRecoveryPoint.html
func TestDisassociateRecoveryPoint(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.stream(id)
		f.wantStatus(streamARN, vault.Available, "")
		wantError(t, f.disassociate("foo"), "InvalidParameterValueException", "")
		wantError(t, f.disassociate(streamARN+"0"), "ResourceNotFoundException", "")
		wantError(t, f.disassociate(f.completed(id, 1)), "InvalidRequestException", "")
		f.others.refuse(refused)
		wantError(t, f.disassociate(streamARN), "InvalidRequestException",
			"Recovery point "+streamARN+" cannot be disassociated: "+refused)
		f.wantStatus(streamARN, vault.Available, "")

		f.others.refuse("")
		f.clock.add(30 * 24 * time.Hour)
		if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
			t.Errorf("Sweep = %d, %v; what is AVAILABLE is never due", n, err)
		}
		if err := f.disassociate(streamARN); err != nil {
			t.Fatal(err)
		}
		f.wantStatus(streamARN, vault.Stopped, "Continuous backup was stopped: the recovery point was disassociated.")
		if n := f.queued("vault_stop_stream"); n != 1 {
			t.Errorf("%d jobs stop the stream, want 1", n)
		}
		wantError(t, f.disassociate(streamARN), "InvalidResourceStateException", "")
		want := []string{"CREATING", "AVAILABLE",
			"STOPPED RECOVERY_POINT_MODIFIED Continuous backup was stopped: the recovery point was disassociated.",
			"STOPPED CONTINUOUS_BACKUP_INTERRUPTED Continuous backup was stopped: the recovery point was disassociated."}
		if diff := cmp.Diff(want, f.told(streamARN)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		f.clock.add(7*24*time.Hour - time.Microsecond)
		if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
			t.Errorf("Sweep = %d, %v before its retention is over", n, err)
		}
		f.clock.add(time.Microsecond)
		if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
			t.Errorf("Sweep = %d, %v, want 1", n, err)
		}
		wantError(t, f.disassociate(streamARN), "InvalidResourceStateException", "")
	})
}

// DEL-30: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
func TestDeleteRecoveryPoint_Continuous(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.stream(id)
		_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
			BackupVaultName: "home", RecoveryPointArn: streamARN, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(9))}})
		wantError(t, err, "InvalidRequestException", "")
		if err := f.delete(streamARN); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"CREATING", "AVAILABLE", "DELETING", "DELETING CONTINUOUS_BACKUP_INTERRUPTED"}, f.told(streamARN)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n := f.queued("vault_stop_stream"); n != 0 {
			t.Errorf("%d jobs stop the stream, which the deletion does", n)
		}
	})
}

func TestStopPointTx(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.stream(id)
		stop := func(arn string) error {
			return f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
				return f.StopPointTx(ctx, tx, id, arn, "Versioning is not enabled")
			})
		}
		if err := stop(streamARN); err != nil {
			t.Fatal(err)
		}
		f.wantStatus(streamARN, vault.Stopped, "Versioning is not enabled")
		if err := stop(streamARN); !errors.Is(err, vault.ErrState) {
			t.Errorf("stopping it again: %v, want ErrState", err)
		}
		if err := stop(f.completed(id, 1)); !errors.Is(err, vault.ErrState) {
			t.Errorf("stopping a snapshot: %v, want ErrState", err)
		}
		if err := f.delete(streamARN); err != nil {
			t.Fatal(err)
		}
		f.wantStatus(streamARN, vault.Deleting, "")
	})
}
