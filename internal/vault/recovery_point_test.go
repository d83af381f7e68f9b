package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
)

func (f *fixture) describe(arn string) *backupapi.DescribeRecoveryPointOutput {
	f.t.Helper()
	out, err := f.DescribeRecoveryPoint(f.ctx, &backupapi.DescribeRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: arn})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func TestDescribeRecoveryPoint(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		created := f.clock.now()
		n := newPoint(id, 1)
		n.DeleteAfterDays = 30
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, n)
			return err
		})
		want := &backupapi.DescribeRecoveryPointOutput{
			RecoveryPointArn: new(pointARN(1)), BackupVaultName: new("home"),
			BackupVaultArn: new("arn:aws:backup:eu-west-1:123456789012:backup-vault:home"),
			ResourceArn:    new(dataARN), ResourceType: new("EFS"), ResourceName: new("data"), IamRoleArn: new(role),
			Status: new(vault.Creating), CreationDate: &created, InitiationDate: &n.InitiatedAt, BackupSizeInBytes: new(int64(0)),
			Lifecycle:           &backupapi.Lifecycle{DeleteAfterDays: new(int64(30))},
			CalculatedLifecycle: &backupapi.CalculatedLifecycle{DeleteAt: new(created.AddDate(0, 0, 30))},
			IsEncrypted:         new(true), EncryptionKeyType: new(backupapi.EncryptionKeyTypeAwsOwnedKmsKey), IsParent: new(false),
			StorageClass: new(backupapi.StorageClassWarm), VaultType: new(backupapi.VaultTypeBackupVault),
		}
		if diff := cmp.Diff(want, f.describe(pointARN(1))); diff != "" {
			t.Error("while CREATING:", diff)
		}
		f.clock.add(time.Minute)
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			return f.CompletePointTx(ctx, tx, id, pointARN(1), completion(1))
		})
		want.Status, want.CompletionDate, want.BackupSizeInBytes = new(vault.Completed), new(f.clock.now()), new(int64(1000))
		if diff := cmp.Diff(want, f.describe(pointARN(1))); diff != "" {
			t.Error("COMPLETED:", diff)
		}
		if diff := cmp.Diff(map[string]string{id + dataARN: pointARN(1), dataARN: pointARN(1)}, f.others.protected); diff != "" {
			t.Error("protected:", diff)
		}
		if diff := cmp.Diff(map[string]string{"k": "v"}, f.others.tags[pointARN(1)]); diff != "" {
			t.Error("tags:", diff)
		}

		metadata, err := f.GetRecoveryPointRestoreMetadata(f.ctx, &backupapi.GetRecoveryPointRestoreMetadataInput{
			BackupVaultName: "home", RecoveryPointArn: pointARN(1)})
		if err != nil || metadata.RestoreMetadata["file-system-id"] != "fs-1" || metadata.RestoreMetadata["aws:backup:request-id"] == "" {
			t.Errorf("restore metadata = %+v, %v", metadata, err)
		}
	})
}

func TestGetRecoveryPointRestoreMetadata_WhileThePointIsMade(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		arn := f.creating(f.vault("home"), 1)
		_, err := f.GetRecoveryPointRestoreMetadata(f.ctx, &backupapi.GetRecoveryPointRestoreMetadataInput{
			BackupVaultName: "home", RecoveryPointArn: arn})
		wantError(t, err, "InvalidParameterValueException", "Recovery point "+arn+" cannot be restored while its status is CREATING")
	})
}

func TestDescribeRecoveryPoint_Errors(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		arn := f.completed(f.vault("home"), 1)
		f.vault("other")
		tests := []struct{ name, vault, arn, want, text string }{
			{"not an ARN", "home", "foo", "InvalidParameterValueException", `malformed ARN "foo": does not begin with "arn:"`},
			{"unknown vault", "absent", arn, "ResourceNotFoundException", "Backup vault absent does not exist"},
			{"unknown ARN", "home", pointARN(2), "ResourceNotFoundException", "Recovery point " + pointARN(2) + " does not exist in backup vault home"},
			{"wrong vault", "other", arn, "ResourceNotFoundException", "Recovery point " + arn + " does not exist in backup vault other"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := f.DescribeRecoveryPoint(f.ctx, &backupapi.DescribeRecoveryPointInput{BackupVaultName: tt.vault, RecoveryPointArn: tt.arn})
				wantError(t, err, tt.want, tt.text)
				_, err = f.GetRecoveryPointRestoreMetadata(f.ctx, &backupapi.GetRecoveryPointRestoreMetadataInput{BackupVaultName: tt.vault, RecoveryPointArn: tt.arn})
				wantError(t, err, tt.want, tt.text)
				_, err = f.DeleteRecoveryPoint(f.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: tt.vault, RecoveryPointArn: tt.arn})
				wantError(t, err, tt.want, tt.text)
				_, err = f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
					BackupVaultName: tt.vault, RecoveryPointArn: tt.arn, Lifecycle: &backupapi.Lifecycle{}})
				wantError(t, err, tt.want, tt.text)
			})
		}
	})
}

func TestUpdateRecoveryPointLifecycle(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		created := f.clock.now()
		set := func(arn string, l *backupapi.Lifecycle) (*backupapi.UpdateRecoveryPointLifecycleOutput, error) {
			return f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
				BackupVaultName: "home", RecoveryPointArn: arn, Lifecycle: l})
		}
		f.clock.add(48 * time.Hour)
		out, err := set(arn, &backupapi.Lifecycle{DeleteAfterDays: new(int64(10))})
		want := &backupapi.UpdateRecoveryPointLifecycleOutput{
			BackupVaultArn: new("arn:aws:backup:eu-west-1:123456789012:backup-vault:home"), RecoveryPointArn: &arn,
			Lifecycle:           &backupapi.Lifecycle{DeleteAfterDays: new(int64(10))},
			CalculatedLifecycle: &backupapi.CalculatedLifecycle{DeleteAt: new(created.AddDate(0, 0, 10))},
		}
		if diff := cmp.Diff(want, out); err != nil || diff != "" {
			t.Error(err, diff)
		}
		for _, l := range []*backupapi.Lifecycle{{}, {DeleteAfterDays: new(int64(-1)), MoveToColdStorageAfterDays: new(int64(-1))}} {
			if _, err := set(arn, &backupapi.Lifecycle{DeleteAfterDays: new(int64(10))}); err != nil {
				t.Fatal(err)
			}
			out, err := set(arn, l)
			if err != nil || out.Lifecycle != nil || out.CalculatedLifecycle != nil {
				t.Errorf("lifecycle %+v = %+v, %v, want none", l, out, err)
			}
			if d := f.describe(arn); d.Lifecycle != nil || d.CalculatedLifecycle != nil {
				t.Errorf("described lifecycle = %+v, want none", d.Lifecycle)
			}
		}

		_, err = set(arn, &backupapi.Lifecycle{DeleteAfterDays: new(int64(1))})
		wantError(t, err, "InvalidParameterValueException", "Invalid lifecycle. DeleteAfterDays puts the deletion into the past: 2026-03-02T12:00:00Z")
		_, err = set(arn, nil)
		wantError(t, err, "MissingParameterValueException", "")
		_, err = set(f.creating(id, 2), &backupapi.Lifecycle{})
		wantError(t, err, "InvalidRequestException", "")
	})
}

func TestCheckLifecycle(t *testing.T) {
	t.Parallel()
	s := vault.New(vault.Options{})
	n := func(n int64) *int64 { return &n }
	tests := []struct {
		name string
		l    *backupapi.Lifecycle
		want string // name of the error
	}{
		{"none", nil, ""},
		{"longest", &backupapi.Lifecycle{DeleteAfterDays: n(36500)}, ""},
		{"too long", &backupapi.Lifecycle{DeleteAfterDays: n(36501)}, "InvalidParameterValueException"},
		{"zero", &backupapi.Lifecycle{DeleteAfterDays: n(0)}, "InvalidParameterValueException"},
		{"negative", &backupapi.Lifecycle{DeleteAfterDays: n(-2)}, "InvalidParameterValueException"},
		{"cold too long", &backupapi.Lifecycle{MoveToColdStorageAfterDays: n(0)}, "InvalidParameterValueException"},
		{"89 days apart", &backupapi.Lifecycle{DeleteAfterDays: n(99), MoveToColdStorageAfterDays: n(10)}, "InvalidParameterValueException"},
		{"90 days apart", &backupapi.Lifecycle{DeleteAfterDays: n(100), MoveToColdStorageAfterDays: n(10)}, ""},
		{"only cold", &backupapi.Lifecycle{MoveToColdStorageAfterDays: n(1)}, ""},
		{"cold, kept for ever", &backupapi.Lifecycle{DeleteAfterDays: n(-1), MoveToColdStorageAfterDays: n(1)}, ""},
		{"archive", &backupapi.Lifecycle{OptInToArchiveForSupportedResources: new(true)}, ""},
		{"no archive", &backupapi.Lifecycle{OptInToArchiveForSupportedResources: new(false)}, ""},
		{"after event", &backupapi.Lifecycle{DeleteAfterEvent: new(backupapi.LifecycleDeleteAfterEventDeleteAfterCopy)}, "InvalidParameterValueException"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := s.CheckLifecycle(tt.l)
			if tt.want == "" && err == nil {
				return
			}
			wantError(t, err, tt.want, "")
			if strings.Contains(tt.name, "apart") && tt.want == "InvalidParameterValueException" {
				wantError(t, err, tt.want, "Invalid lifecycle. DeleteAfterDays cannot be less than 90 days apart from MoveToColdStorageAfterDays")
			}
		})
	}
}

func TestListRecoveryPointsByBackupVault_Filters(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		var times []time.Time
		for i := range 4 {
			f.completed(id, i)
			times = append(times, f.clock.now())
			f.clock.add(time.Second)
		}
		list := func(in *backupapi.ListRecoveryPointsByBackupVaultInput) []string {
			t.Helper()
			in.BackupVaultName = "home"
			out, err := f.ListRecoveryPointsByBackupVault(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			arns := []string{}
			for _, p := range out.RecoveryPoints {
				arns = append(arns, *p.RecoveryPointArn)
			}
			return arns
		}
		type input = backupapi.ListRecoveryPointsByBackupVaultInput
		all := []string{pointARN(3), pointARN(2), pointARN(1), pointARN(0)}
		tests := []struct {
			name string
			in   *input
			want []string
		}{
			{"newest first", &input{}, all},
			{"resource", &input{ByResourceArn: new(dataARN)}, all},
			{"other resource", &input{ByResourceArn: new("arn:aws:s3:::b")}, []string{}},
			{"type", &input{ByResourceType: new("EFS"), BackupVaultAccountId: new(account)}, all},
			{"unknown type", &input{ByResourceType: new("Floppy")}, []string{}},
			{"between, bounds excluded", &input{ByCreatedAfter: &times[0], ByCreatedBefore: &times[3]}, all[1:3]},
			{"plan", &input{ByBackupPlanId: new("p")}, []string{}},
			{"parent", &input{ByParentRecoveryPointArn: new(pointARN(1))}, []string{}},
		}
		for _, tt := range tests {
			if diff := cmp.Diff(tt.want, list(tt.in)); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
		for _, in := range []*input{{ByResourceArn: new("foo")}, {ByParentRecoveryPointArn: new("foo")}} {
			in.BackupVaultName = "home"
			_, err := f.ListRecoveryPointsByBackupVault(f.ctx, in)
			wantError(t, err, "InvalidParameterValueException", `malformed ARN "foo": does not begin with "arn:"`)
		}
		_, err := f.ListRecoveryPointsByBackupVault(f.ctx, &input{BackupVaultName: "absent"})
		wantError(t, err, "ResourceNotFoundException", "")

		first, err := f.ListRecoveryPointsByBackupVault(f.ctx, &input{BackupVaultName: "home", MaxResults: new(1)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.ListRecoveryPointsByBackupVault(f.ctx, &input{BackupVaultName: "home", NextToken: first.NextToken, ByResourceArn: new(dataARN)})
		if _, bad := errors.AsType[*wire.Invalid](err); !bad {
			t.Errorf("token of a list with other filters: %v, want a refusal", err)
		}
		byResource, err := f.ListRecoveryPointsByResource(f.ctx, &backupapi.ListRecoveryPointsByResourceInput{ResourceArn: dataARN})
		if err != nil || len(byResource.RecoveryPoints) != 4 || *byResource.RecoveryPoints[0].RecoveryPointArn != pointARN(3) {
			t.Errorf("ListRecoveryPointsByResource = %+v, %v", byResource, err)
		}
		_, err = f.ListRecoveryPointsByResource(f.ctx, &backupapi.ListRecoveryPointsByResourceInput{ResourceArn: "foo"})
		wantError(t, err, "InvalidParameterValueException", `malformed ARN "foo": does not begin with "arn:"`)
	})
}

// fill adds recovery points quickly; two at a time share their creation time.
func (f *fixture) fill(id string, n int) {
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		for i := range n {
			if _, err := f.CreatePointTx(ctx, tx, newPoint(id, i)); err != nil {
				return err
			}
			if i%2 == 1 {
				f.clock.add(time.Second)
			}
		}
		return nil
	})
}

func TestListRecoveryPoints_PagesSurviveDeletions(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		const total = 2500
		id := f.vault("home")
		f.fill(id, total)
		removed := map[string]bool{}
		seen := map[string]int{}
		in := &backupapi.ListRecoveryPointsByBackupVaultInput{BackupVaultName: "home"}
		for page := 0; ; page++ {
			out, err := f.ListRecoveryPointsByBackupVault(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range out.RecoveryPoints {
				seen[*p.RecoveryPointArn]++
				if removed[*p.RecoveryPointArn] {
					t.Fatalf("%s is listed after its removal", *p.RecoveryPointArn)
				}
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
			// Some of this page with its last one, and some of what is still to come.
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				last := *out.RecoveryPoints[len(out.RecoveryPoints)-1].RecoveryPointArn
				for _, arn := range []string{last, *out.RecoveryPoints[7].RecoveryPointArn, pointARN(page), pointARN(page + 100)} {
					removed[arn] = true
					if err := f.DropCreatingTx(ctx, tx, id, arn); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for i := range total {
			if arn := pointARN(i); seen[arn] > 1 || seen[arn] == 0 && !removed[arn] {
				t.Errorf("%s was listed %d times", arn, seen[arn])
			}
		}
	})
}

func TestListRecoveryPoints_OfAllVaults(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		a, b := f.vault("home"), f.vault("other")
		f.completed(a, 1)
		f.completed(b, 1) // a copy has the same ARN
		f.clock.add(time.Second)
		f.completed(b, 2)
		sizes := map[repo.PointID]repo.Sizes{repo.PointID(completion(1).StoreID): {Logical: 1000, Referenced: 90, Unique: 40, UniqueParts: 7}}
		f.measure(a, repo.Measure{Sizes: sizes})
		got := map[string]string{}
		in := &lockfastapi.ListRecoveryPointsInput{MaxResults: new(1)}
		for {
			out, err := f.ListRecoveryPoints(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range out.RecoveryPoints {
				got[p.BackupVaultName+" "+p.RecoveryPointArn[len(p.RecoveryPointArn)-1:]] = bytesOf(p)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		want := map[string]string{"home 1": "1000 90 40 7", "other 1": "1000 ? ? ?", "other 2": "1000 ? ? ?"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for name, in := range map[string]*lockfastapi.ListRecoveryPointsInput{
			"vault": {BackupVaultName: new("home")}, "ARN": {RecoveryPointArn: new(pointARN(2))},
			"all": {BackupVaultName: new("other"), RecoveryPointArn: new(pointARN(1)), ResourceArn: new(dataARN)},
		} {
			if out, err := f.ListRecoveryPoints(f.ctx, in); err != nil || len(out.RecoveryPoints) != 1 {
				t.Errorf("by %s: %+v, %v, want one", name, out, err)
			}
		}
		f.others.measure = repo.Measure{Epoch: 5, Usage: repo.Usage{PhysicalBytes: 10, LiveBytes: 7, DeadBytes: 3, DeadPartBytes: 4, LockedBytes: 1,
			LogicalBytes: 2000}}
		usage, err := f.GetVaultUsage(f.ctx, &lockfastapi.GetVaultUsageInput{BackupVaultName: "other"})
		want2 := &lockfastapi.GetVaultUsageOutput{PhysicalBytes: 10, LiveBytes: 7, DeadBytes: 3, DeadPartBytes: 4, LockedBytes: 1, LogicalBytes: 2000,
			RecoveryPoints: 2, Epoch: 5, MeasuredAt: f.clock.now()}
		if diff := cmp.Diff(want2, usage); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func TestParent_IsTheNewestCompleted(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		if _, ok, err := f.Parent(f.ctx, id, dataARN); ok || err != nil {
			t.Errorf("Parent without any = %v, %v", ok, err)
		}
		f.completed(id, 1)
		f.clock.add(time.Second)
		f.completed(id, 2)
		f.clock.add(time.Second)
		f.creating(id, 3)
		if p, ok, err := f.Parent(f.ctx, id, dataARN); !ok || err != nil || p.StoreID != completion(2).StoreID {
			t.Errorf("Parent = %+v, %v, %v, want 2", p, ok, err)
		}
	})
}

func TestTaggableTx(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		arn := f.completed(f.vault("home"), 1)
		for arn, want := range map[string]bool{
			arn: true, pointARN(2): false, "arn:aws:backup:eu-west-1:123456789012:backup-vault:home": true,
			"arn:aws:backup:us-east-1:123456789012:backup-vault:home": false, "arn:aws:backup:eu-west-1:123456789012:backup-vault:x": false,
		} {
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				got, err := f.TaggableTx(ctx, tx, account, arn)
				if got != want {
					t.Errorf("TaggableTx(%s) = %v, want %v", arn, got, want)
				}
				return err
			})
		}
	})
}

func TestRestorableTx(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		done, creating := f.completed(id, 1), f.creating(id, 2)
		restorable := func(arn string) (got *backupapi.DescribeRecoveryPointOutput, err error) {
			err = f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
				got, err = f.RestorableTx(ctx, tx, account, region, arn)
				return err
			})
			return got, err
		}
		if got, err := restorable(done); err != nil || *got.ResourceArn != dataARN {
			t.Errorf("RestorableTx = %+v, %v", got, err)
		}
		_, err := restorable(creating)
		wantError(t, err, "InvalidRequestException", "")
		_, err = restorable(pointARN(3))
		wantError(t, err, "ResourceNotFoundException", "")
		_, err = f.FindPoint(f.ctx, account, "us-east-1", done)
		wantError(t, err, "ResourceNotFoundException", "")
		_, err = f.FindPoint(f.ctx, account, region, "foo")
		wantError(t, err, "InvalidParameterValueException", "")
	})
}

func TestCreatePointTx_AgainForTheSameJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.creating(id, 1)
		f.clock.add(time.Hour)
		arn := f.creating(id, 1)
		if d := f.describe(arn); !d.CreationDate.Equal(f.clock.now()) {
			t.Errorf("CreationDate = %v, want the start of the new capture", d.CreationDate)
		}
		other := newPoint(id, 1)
		other.JobID = "another"
		err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, other)
			return err
		})
		if !errors.Is(err, vault.ErrState) {
			t.Errorf("another job: %v, want ErrState", err)
		}
		other.VaultUUID = "gone"
		err = f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, other)
			return err
		})
		if !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("missing vault: %v, want ErrNotFound", err)
		}
	})
}

func TestCompletePointTx_OnlyFromCreating(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		for _, arn := range []string{arn, pointARN(2)} {
			err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
				return f.CompletePointTx(ctx, tx, id, arn, completion(1))
			})
			if !errors.Is(err, vault.ErrState) && !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("CompletePointTx(%s) = %v", arn, err)
			}
		}
	})
}

// bytesOf returns the sizes of a recovery point: logical, stored, unique, unique parts.
func bytesOf(p lockfastapi.RecoveryPoint) string {
	var all []string
	for _, n := range []*int64{p.LogicalBytes, p.StoredBytes, p.UniqueBytes, p.UniquePartBytes} {
		if n == nil {
			all = append(all, "?")
		} else {
			all = append(all, fmt.Sprint(*n))
		}
	}
	return strings.Join(all, " ")
}
