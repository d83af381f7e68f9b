package vault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// damage returns what lists, the description and the verifications say of a recovery point's damage.
func (f *fixture) damage(arn string) (listed *lockfastapi.RecoveryPointDamage, message string, known []lockfastapi.DamagedRecoveryPoint) {
	f.t.Helper()
	list, err := f.ListRecoveryPoints(f.ctx, &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &arn})
	if err != nil || len(list.RecoveryPoints) != 1 {
		f.t.Fatalf("ListRecoveryPoints = %v, %v", list, err)
	}
	d, err := f.DescribeRecoveryPoint(f.ctx, &backupapi.DescribeRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: arn})
	if err != nil || *d.Status != backupapi.RecoveryPointStatusCompleted {
		f.t.Fatalf("DescribeRecoveryPoint = %v, %v, want COMPLETED", d, err)
	}
	if d.StatusMessage != nil {
		message = *d.StatusMessage
	}
	v, err := f.GetVaultVerification(f.ctx, &lockfastapi.GetVaultVerificationInput{BackupVaultName: "home"})
	if err != nil || v.DamagedRecoveryPointCount != int64(len(v.DamagedRecoveryPoints)) {
		f.t.Fatalf("GetVaultVerification = %+v, %v", v, err)
	}
	return list.RecoveryPoints[0].Damage, message, v.DamagedRecoveryPoints
}

// mark marks recovery points as damaged, and no others.
func (f *fixture) mark(id string, damaged map[repo.PointID]vault.Damage) {
	f.t.Helper()
	if err := f.MarkDamaged(f.ctx, id, damaged, true); err != nil {
		f.t.Fatal(err)
	}
}

func TestMarkDamaged(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		first, second := f.completed(id, 1), f.completed(id, 2)
		arns, err := f.ARNs(f.ctx, id)
		if err != nil || len(arns) != 2 {
			t.Fatalf("ARNs = %v, %v, want two", arns, err)
		}
		points := map[string]repo.PointID{}
		for point, arn := range arns {
			points[arn] = point
		}
		mark := func(all bool, damaged map[repo.PointID]vault.Damage) {
			t.Helper()
			if err := f.MarkDamaged(f.ctx, id, damaged, all); err != nil {
				t.Fatal(err)
			}
		}
		mark(false, map[repo.PointID]vault.Damage{points[first]: {Paths: []string{"a", "b", "c", "d"}, More: 2}, "absent": {}})
		was, message, known := f.damage(first)
		if was == nil || !cmp.Equal(was.Paths, []string{"a", "b", "c", "d"}) || was.MorePaths != 2 || was.Message != message ||
			!strings.HasSuffix(message, "It misses: a, b, c, 3 more") || len(known) != 1 || known[0].RecoveryPointArn != first {
			t.Errorf("damage = %+v, %q, %v", was, message, known)
		}
		if d, message, _ := f.damage(second); d != nil || message != "" {
			t.Errorf("damage of a sound recovery point = %+v, %q", d, message)
		}

		f.clock.add(time.Hour)
		mark(true, map[repo.PointID]vault.Damage{points[first]: {Paths: []string{"d"}}, points[second]: {Unknown: true}})
		if d, _, known := f.damage(first); !d.FoundDate.Equal(was.FoundDate) || fmt.Sprint(d.Paths) != "[d]" || d.MorePaths != 0 || len(known) != 2 {
			t.Errorf("damage found again = %+v, %v, want the first time", d, known)
		}
		mark(false, nil)
		if d, _, known := f.damage(second); d == nil || !d.Unknown || d.FoundDate.Equal(was.FoundDate) || len(known) != 2 {
			t.Errorf("damage after a verification that saw less = %+v, %v", d, known)
		}
		mark(true, nil)
		for _, arn := range []string{first, second} {
			if d, message, known := f.damage(arn); d != nil || message != "" || len(known) > 0 {
				t.Errorf("damage that was healed = %+v, %q, %v", d, message, known)
			}
		}
	})
}
