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

// stored is the key under which the store knows recovery points of a vault.
func stored(id string, points ...int) string {
	ids := []repo.PointID{}
	for _, n := range points {
		ids = append(ids, repo.PointID(completion(n).StoreID))
	}
	return fmt.Sprint(id, ids)
}

// preview asks what deleting recovery points would do. refused are the reasons by the numbers of recovery points.
func (f *fixture) preview(in *lockfastapi.DescribeDeletionInput) (refused map[string]string, vaults []lockfastapi.VaultDeletion) {
	f.t.Helper()
	out, err := f.DescribeDeletion(f.ctx, in)
	if err != nil {
		f.t.Fatal(err)
	}
	refused = map[string]string{}
	for _, p := range out.RecoveryPoints {
		if p.Refusal != nil {
			refused[p.RecoveryPoint.RecoveryPointArn] = *p.Refusal
		}
	}
	return refused, out.Vaults
}

func (f *fixture) freedBy(vaults []lockfastapi.VaultDeletion) (all string) {
	for _, v := range vaults {
		all += fmt.Sprintf("%s: %d free %d; ", v.BackupVaultName, v.RecoveryPoints, v.FreedBytes)
	}
	return all
}

func TestDescribeDeletion_SumsByVault(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, other := f.vault("home"), f.vault("other")
		one, two, three := f.completed(home, 1), f.completed(home, 2), f.completed(other, 3)
		f.others.freed = map[string]repo.Freed{
			stored(home, 1, 2): {Epoch: 4, Points: 2, SlotBytes: 100, PinnedBytes: 5, PartBytes: 30, SharedBytes: 50, BundleBytes: 20},
			stored(other, 3):   {Epoch: 9, Points: 1, SlotBytes: 1},
		}
		out, err := f.DescribeDeletion(f.ctx, &lockfastapi.DescribeDeletionInput{RecoveryPointArns: []string{one, three, two, one}})
		if err != nil {
			t.Fatal(err)
		}
		want := []lockfastapi.VaultDeletion{
			{BackupVaultName: "home", RecoveryPoints: 2, FreedBytes: 100, FreedPartBytes: 30, PinnedBytes: 5, SharedBytes: 50, SharedBundleBytes: 20, Epoch: 4},
			{BackupVaultName: "other", RecoveryPoints: 1, FreedBytes: 1, Epoch: 9},
		}
		if diff := cmp.Diff(want, out.Vaults); diff != "" {
			t.Errorf("vaults (-want +got):\n%s", diff)
		}
		var points []string
		for _, p := range out.RecoveryPoints {
			points = append(points, p.RecoveryPoint.RecoveryPointArn)
		}
		if diff := cmp.Diff([]string{one, three, two}, points); diff != "" {
			t.Errorf("recovery points (-want +got):\n%s", diff)
		}
		for _, arn := range []string{one, two} {
			f.wantPoint(arn, vault.Completed, "")
		}
	})
}

func TestDescribeDeletion_NamesWhatMayNotBeDeleted(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.others.freed = map[string]repo.Freed{stored(id, 4): {SlotBytes: 44}, stored(id, 2, 3): {SlotBytes: 23}, stored(id, 2): {SlotBytes: 2}}
		parent, web, crm := f.family(id)
		idle, read, creating := f.completed(id, 4), f.completed(id, 5), f.creating(id, 6)
		f.others.inUse[read] = true
		for _, c := range []struct {
			name    string
			arns    []string
			refused map[string]string // beginning of the reason
			freed   string
		}{
			{"being made or read", []string{idle, read, creating}, map[string]string{
				read: "its status is COMPLETED, or it is being read", creating: "its status is CREATING"}, "home: 1 free 44; "},
			{"parent without its children", []string{parent}, map[string]string{parent: "it is composite, and its nested recovery point " + web + " is to stay"}, ""},
			{"parent without one of them", []string{parent, web}, map[string]string{parent: "it is composite, and its nested recovery point " + crm + " is to stay"}, "home: 1 free 2; "},
			{"parent with its children", []string{parent, web, crm}, map[string]string{}, "home: 3 free 23; "},
		} {
			refused, vaults := f.preview(&lockfastapi.DescribeDeletionInput{RecoveryPointArns: c.arns})
			for arn, why := range c.refused {
				if !strings.HasPrefix(refused[arn], why) {
					t.Errorf("%s: %s is refused because %q, want %q", c.name, arn, refused[arn], why)
				}
			}
			if len(refused) != len(c.refused) || f.freedBy(vaults) != c.freed {
				t.Errorf("%s: refused %v, freed %q, want %v, %q", c.name, refused, f.freedBy(vaults), c.refused, c.freed)
			}
		}
		f.others.inUse[crm] = true
		refused, _ := f.preview(&lockfastapi.DescribeDeletionInput{RecoveryPointArns: []string{parent, web, crm}})
		if !strings.Contains(refused[parent], crm+" may not be deleted") || refused[web] != "" || refused[crm] == "" {
			t.Errorf("with a child that is read, refused = %v", refused)
		}
		f.others.refuse("the role is gone")
		refused, vaults := f.preview(&lockfastapi.DescribeDeletionInput{RecoveryPointArns: []string{idle}})
		if refused[idle] != "the role is gone" || len(vaults) != 0 {
			t.Errorf("against the role = %v, %v", refused, vaults)
		}
		f.wantPoint(idle, vault.Completed, "")
	})
}

func TestDescribeDeletion_RefusesBadInput(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, other := f.vault("home"), f.vault("other")
		both := f.completed(home, 1)
		f.completed(other, 1)
		ask := func(name *string, arns ...string) error {
			_, err := f.DescribeDeletion(f.ctx, &lockfastapi.DescribeDeletionInput{BackupVaultName: name, RecoveryPointArns: arns})
			return err
		}
		wantError(t, ask(nil, both), "InvalidParameterValueException", "Recovery point "+both+" is in the vaults home and other: BackupVaultName must say which is meant")
		wantError(t, ask(nil, "nonsense"), "InvalidParameterValueException", `malformed ARN "nonsense": does not begin with "arn:"`)
		wantError(t, ask(nil, pointARN(9)), "ResourceNotFoundException", "Recovery point "+pointARN(9)+" does not exist")
		wantError(t, ask(new("absent"), both), "ResourceNotFoundException", "Backup vault absent does not exist")
		if err := ask(new("home"), both); err != nil {
			t.Errorf("with the vault's name: %v", err)
		}
	})
}

func TestUsages_AreThoseLastRecorded(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.vault("empty")
		f.completed(id, 1)
		for i := range int64(2) {
			f.clock.add(time.Hour)
			m := repo.Measure{Epoch: uint64(i), Usage: repo.Usage{PhysicalBytes: 10 + i, LiveBytes: 7, DeadBytes: 3, DeadPartBytes: 2, LockedBytes: 1, Points: 5, LogicalBytes: 9}}
			f.measure(id, m)
		}
		want := []vault.Usage{{Account: account, Region: region, Vault: "home", UUID: id, Epoch: 1, MeasuredAt: f.clock.now().Truncate(time.Microsecond),
			Usage: repo.Usage{PhysicalBytes: 11, LiveBytes: 7, DeadBytes: 3, DeadPartBytes: 2, LockedBytes: 1, Points: 1, LogicalBytes: 9}}}
		if got, err := f.Usages(f.ctx); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("Usages = %v (-want +got):\n%s", err, cmp.Diff(want, got))
		}
		if _, err := f.DeleteBackupVault(f.ctx, &backupapi.DeleteBackupVaultInput{BackupVaultName: "empty"}); err != nil {
			t.Fatal(err)
		}
		if err := f.SetMeasure(f.ctx, vault.Vault{UUID: "00000000-0000-4000-8000-000000000000"}, repo.Measure{}); err != nil {
			t.Errorf("SetMeasure of a vault that is gone = %v", err)
		}
		if got, err := f.Usages(f.ctx); err != nil || len(got) != 1 {
			t.Errorf("Usages afterwards = %+v, %v", got, err)
		}
	})
}

func TestListRecoveryPoints_SumsTheMembersOfAGroup(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		outer := f.nested(id, 7, 7, vault.Composite{IsParent: true})
		inner := f.nested(id, 8, 7, vault.Composite{IsParent: true, ParentARN: outer, MemberID: "inner"})
		f.child(id, 2, inner, "web", 7)
		f.child(id, 3, outer, "crm", 7)
		f.completeParent(id, inner, "")
		f.completeParent(id, outer, "")
		for _, c := range []struct {
			sizes        map[repo.PointID]repo.Sizes
			inner, outer string
		}{
			{map[repo.PointID]repo.Sizes{repo.PointID(completion(2).StoreID): {Referenced: 90, Unique: 40, UniqueParts: 7}}, "1000 90 40 7", "2000 ? ? ?"},
			{map[repo.PointID]repo.Sizes{repo.PointID(completion(3).StoreID): {Referenced: 10, Unique: 4}}, "1000 90 40 7", "2000 100 44 7"},
		} {
			f.measure(id, repo.Measure{Sizes: c.sizes})
			for arn, want := range map[string]string{inner: c.inner, outer: c.outer} {
				out, err := f.ListRecoveryPoints(f.ctx, &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &arn})
				if err != nil || len(out.RecoveryPoints) != 1 || bytesOf(out.RecoveryPoints[0]) != want {
					t.Errorf("%s = %+v, %v, want %s", arn, out, err, want)
				}
			}
		}
	})
}
