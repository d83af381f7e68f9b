package task_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/task"
)

// oneVault knows the vault "home".
type oneVault struct{}

func (oneVault) VaultUUID(_ context.Context, _, _, name string) (string, error) {
	if name != "home" {
		return "", lockfastapi.ResourceNotFoundExceptionf("no vault %s", name)
	}
	return "11111111-2222-4333-8444-555555555555", nil
}

func TestTask_RunsFromStartToEnd(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		s := task.New(open(t, task.Migrations()), oneVault{}, func() time.Time { return now })
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})

		started, err := s.StartVerification(ctx, &lockfastapi.StartVerificationInput{BackupVaultName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		id := started.TaskId
		claimed, err := s.Claim(ctx, id)
		if err != nil || claimed.Kind != lockfastapi.TaskKindVerification || claimed.Level != 3 {
			t.Fatalf("Claim = %+v, %v, want a verification of level 3", claimed, err)
		}
		if _, err := s.Claim(ctx, id); !errors.Is(err, task.ErrNotRunning) {
			t.Errorf("second Claim = %v, want ErrNotRunning", err)
		}
		if err := s.Progress(ctx, id, 5, 10); err != nil {
			t.Fatal(err)
		}
		described, err := s.DescribeTask(ctx, &lockfastapi.DescribeTaskInput{TaskId: id})
		if err != nil || described.State != lockfastapi.TaskStateRunning || described.Done != 5 || described.Total != 10 {
			t.Errorf("DescribeTask = %+v, %v, want a task that is half done", described, err)
		}
		if err := s.Complete(ctx, id, map[string]string{"packs": "7"}); err != nil {
			t.Fatal(err)
		}
		described, err = s.DescribeTask(ctx, &lockfastapi.DescribeTaskInput{TaskId: id})
		if err != nil || described.State != lockfastapi.TaskStateCompleted || described.Report["packs"] != "7" ||
			described.CompletionDate == nil || !described.CompletionDate.Equal(now) {
			t.Errorf("DescribeTask after the end = %+v, %v", described, err)
		}
		if err := s.Fail(ctx, id, "late", nil); !errors.Is(err, task.ErrNotRunning) {
			t.Errorf("Fail after the end = %v, want ErrNotRunning", err)
		}
	})
}

func TestStartRepair(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		s := task.New(open(t, task.Migrations()), oneVault{}, time.Now)
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		for name, level := range map[string]*int{"known first": nil, "verified": new(2)} {
			started, err := s.StartRepair(ctx, &lockfastapi.StartRepairInput{BackupVaultName: "home", Level: level})
			if err != nil {
				t.Fatal(err)
			}
			want := -1
			if level != nil {
				want = *level
			}
			if claimed, err := s.Claim(ctx, started.TaskId); err != nil || claimed.Kind != lockfastapi.TaskKindRepair || claimed.Level != want {
				t.Errorf("Claim of a repair, %s = %+v, %v, want level %d", name, claimed, err, want)
			}
		}
		for name, in := range map[string]*lockfastapi.StartRepairInput{
			"from itself":   {BackupVaultName: "home", SourceBackupVaultName: new("home")},
			"from nowhere":  {BackupVaultName: "home", SourceBackupVaultName: new("away")},
			"of what is no": {BackupVaultName: "away"},
		} {
			if out, err := s.StartRepair(ctx, in); err == nil {
				t.Errorf("StartRepair %s = %+v, want an error", name, out)
			}
		}
	})
}

func TestTask_IsStartedAgainAfterACrash(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		s := task.New(open(t, task.Migrations()), oneVault{}, time.Now)
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		started, err := s.StartReclaim(ctx, &lockfastapi.StartReclaimInput{BackupVaultName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(ctx, started.TaskId); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(ctx, false); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(ctx, started.TaskId); !errors.Is(err, task.ErrNotRunning) {
			t.Errorf("Claim under a lease = %v, want ErrNotRunning", err)
		}
		if err := s.Restart(ctx, true); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(ctx, started.TaskId); err != nil {
			t.Errorf("Claim after a restart = %v, want nil", err)
		}
	})
}

func TestStartVerification_JoinsOneThatRuns(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		s := task.New(open(t, task.Migrations()), oneVault{}, time.Now)
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		start := func(level int) string {
			out, err := s.StartVerification(ctx, &lockfastapi.StartVerificationInput{BackupVaultName: "home", Level: &level})
			if err != nil {
				t.Fatal(err)
			}
			return out.TaskId
		}
		first := start(3)
		before, err := s.Claim(ctx, first)
		if err != nil {
			t.Fatal(err)
		}
		if got := start(3); got != first {
			t.Errorf("StartVerification beside one of the same level = %s, want %s", got, first)
		}
		if start(2) == first {
			t.Error("StartVerification of another level joined, want one of its own")
		}
		if err := s.Restart(ctx, true); err != nil {
			t.Fatal(err)
		}
		again, err := s.Claim(ctx, first)
		if err != nil || before.Began.IsZero() || !again.Began.Equal(before.Began) {
			t.Errorf("Claim after a restart = %+v, %v, want the beginning %s", again, err, before.Began)
		}
		if err := s.Complete(ctx, first, nil); err != nil {
			t.Fatal(err)
		}
		if start(3) == first {
			t.Error("StartVerification after the end joined, want a new one")
		}
	})
}

func TestDescribeTask_OfAnotherAccountDoesNotExist(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		s := task.New(open(t, task.Migrations()), oneVault{}, time.Now)
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		started, err := s.StartReclaim(ctx, &lockfastapi.StartReclaimInput{BackupVaultName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []caller.Caller{{Account: "111111111111", Region: "us-east-1"}, {Account: "000000000000", Region: "eu-west-1"}} {
			_, err := s.DescribeTask(caller.With(t.Context(), c), &lockfastapi.DescribeTaskInput{TaskId: started.TaskId})
			if _, ok := errors.AsType[*lockfastapi.ResourceNotFoundException](err); !ok {
				t.Errorf("DescribeTask by %s in %s = %v, want ResourceNotFoundException", c.Account, c.Region, err)
			}
		}
		_, err = s.StartReclaim(ctx, &lockfastapi.StartReclaimInput{BackupVaultName: "absent"})
		if _, ok := errors.AsType[*lockfastapi.ResourceNotFoundException](err); !ok {
			t.Errorf("StartReclaim of a missing vault = %v, want ResourceNotFoundException", err)
		}
	})
}
