package vault_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

const shopARN = "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop/6f1d2b3c-0000-4000-8000-000000000000"

// nested makes the row of recovery point n, which is CREATING, as a parent or a child.
func (f *fixture) nested(id string, n int, days int64, c vault.Composite) string {
	f.t.Helper()
	p := newPoint(id, n)
	p.DeleteAfterDays, p.Composite = days, c
	if c.IsParent {
		p.ResourceARN, p.ResourceType, p.ResourceName = shopARN, "CloudFormation", "shop"
	}
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := f.CreatePointTx(ctx, tx, p)
		return err
	})
	return p.ARN
}

// child makes recovery point n as a child of a parent.
func (f *fixture) child(id string, n int, parent, member string, days int64) string {
	f.t.Helper()
	arn := f.nested(id, n, days, vault.Composite{ParentARN: parent, MemberID: member})
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		return f.CompletePointTx(ctx, tx, id, arn, completion(n))
	})
	return arn
}

func (f *fixture) completeParent(id, arn, missing string) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		return f.CompleteParentTx(ctx, tx, id, arn, vault.Completion{Tags: map[string]string{"k": "v"}, StatusMessage: missing})
	})
}

// family makes recovery point 1 with the children 2 and 3, web and crm.
func (f *fixture) family(id string) (parent, web, crm string) {
	f.t.Helper()
	parent = f.nested(id, 1, 7, vault.Composite{IsParent: true})
	f.clock.add(time.Second)
	web, crm = f.child(id, 2, parent, "web", 7), f.child(id, 3, parent, "crm", 7)
	f.completeParent(id, parent, "")
	return parent, web, crm
}

func (f *fixture) wantPoint(arn string, want vault.Status, message string) {
	f.t.Helper()
	d := f.describe(arn)
	text := ""
	if d.StatusMessage != nil {
		text = *d.StatusMessage
	}
	if *d.Status != want || text != message {
		f.t.Errorf("%s is %s, %q, want %s, %q", arn, *d.Status, text, want, message)
	}
}

func (f *fixture) wantDays(arn string, want int64) {
	f.t.Helper()
	d := f.describe(arn)
	if want == 0 {
		if d.Lifecycle != nil || d.CalculatedLifecycle != nil {
			f.t.Errorf("%s has lifecycle %+v, want none", arn, d.Lifecycle)
		}
		return
	}
	at := d.CreationDate.Add(time.Duration(want) * 24 * time.Hour)
	if d.Lifecycle == nil || *d.Lifecycle.DeleteAfterDays != want || !d.CalculatedLifecycle.DeleteAt.Equal(at) {
		f.t.Errorf("%s has lifecycle %+v, %+v, want %d days", arn, d.Lifecycle, d.CalculatedLifecycle, want)
	}
}

func (f *fixture) unlink(arn string) error {
	_, err := f.DisassociateRecoveryPointFromParent(f.ctx, &backupapi.DisassociateRecoveryPointFromParentInput{
		BackupVaultName: "home", RecoveryPointArn: arn})
	return err
}

func TestComposite_Fields(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		d := f.describe(parent)
		if !*d.IsParent || d.ParentRecoveryPointArn != nil || *d.Status != vault.Completed || *d.ResourceType != "CloudFormation" ||
			*d.BackupSizeInBytes != 0 || d.CompletionDate == nil {
			t.Errorf("DescribeRecoveryPoint of the parent = %+v", d)
		}
		if f.others.tags[parent]["k"] != "v" || f.others.protected[id+shopARN] != parent {
			t.Errorf("tags %v, protected %v, want those of the parent", f.others.tags, f.others.protected)
		}
		d = f.describe(web)
		if *d.IsParent || *d.ParentRecoveryPointArn != parent || *d.CompositeMemberIdentifier != "web" {
			t.Errorf("DescribeRecoveryPoint of a child = %+v", d)
		}
		list, err := f.ListRecoveryPointsByBackupVault(f.ctx, &backupapi.ListRecoveryPointsByBackupVaultInput{
			BackupVaultName: "home", ByParentRecoveryPointArn: &parent})
		var got []string
		for _, p := range list.RecoveryPoints {
			got = append(got, *p.RecoveryPointArn+" "+*p.CompositeMemberIdentifier+" "+*p.ParentRecoveryPointArn)
		}
		if diff := cmp.Diff([]string{crm + " crm " + parent, web + " web " + parent}, got); err != nil || diff != "" {
			t.Errorf("%v, children (-want +got):\n%s", err, diff)
		}
		_, err = f.ListRecoveryPointsByBackupVault(f.ctx, &backupapi.ListRecoveryPointsByBackupVaultInput{
			BackupVaultName: "home", ByParentRecoveryPointArn: new("")})
		wantError(t, err, "InvalidParameterValueException", "")
		own, err := f.ListRecoveryPoints(f.ctx, &lockfastapi.ListRecoveryPointsInput{ResourceArn: new(shopARN)})
		if err != nil || len(own.RecoveryPoints) != 1 || !own.RecoveryPoints[0].IsParent {
			t.Errorf("ListRecoveryPoints = %+v, %v", own, err)
		}
	})
}

func TestDeleteRecoveryPoint_ParentAndChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		refused := "Recovery point " + parent + " is composite and cannot be deleted before its nested recovery points: " +
			"delete or disassociate them first; there are 2"
		wantError(t, f.delete(parent), "InvalidRequestException", refused)
		f.wantPoint(parent, vault.Completed, "")
		if err := f.delete(web); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(parent, vault.Partial, "Member web was deleted.")
		wantError(t, f.delete(parent), "InvalidRequestException", "")
		if err := f.delete(crm); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(parent, vault.Partial, "Member web was deleted. Member crm was deleted.")
		for _, arn := range []string{web, crm} {
			if err := f.removePoint(id, arn); err != nil {
				t.Fatal(err)
			}
		}
		f.wantPoint(parent, vault.Partial, "Member web was deleted. Member crm was deleted.")
		if err := f.delete(parent); err != nil {
			t.Errorf("deletion of a parent without children: %v", err)
		}
		if err := f.removePoint(id, parent); err != nil {
			t.Fatal(err)
		}
		if n := f.count("home"); n != 0 {
			t.Errorf("%d recovery points are left", n)
		}
	})
}

// A child that is DELETING keeps nobody from deleting the parent. If it stays after all, it is nobody's child any more.
func TestDeleteRecoveryPoint_ParentOfWhatIsBeingDeleted(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		for _, arn := range []string{web, crm, parent} {
			if err := f.delete(arn); err != nil {
				t.Fatal(err)
			}
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.ExpirePointTx(ctx, tx, id, web, "no") })
		f.wantPoint(web, vault.Expired, "no")
		if d := f.describe(web); d.ParentRecoveryPointArn != nil {
			t.Errorf("parent = %s, want none", *d.ParentRecoveryPointArn)
		}
	})
}

func TestDisassociateRecoveryPointFromParent(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		if err := f.unlink(web); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(parent, vault.Partial, "Member web was disassociated.")
		d := f.describe(web)
		if *d.Status != vault.Completed || d.ParentRecoveryPointArn != nil || d.CompositeMemberIdentifier != nil {
			t.Errorf("DescribeRecoveryPoint of what was disassociated = %+v", d)
		}
		wantError(t, f.unlink(web), "InvalidRequestException", "Recovery point "+web+" is not nested in a composite one")
		wantError(t, f.unlink(parent), "InvalidRequestException", "")
		wantError(t, f.unlink("foo"), "InvalidParameterValueException", "")
		wantError(t, f.unlink(pointARN(9)), "ResourceNotFoundException", "")
		if err := f.delete(crm); err != nil {
			t.Fatal(err)
		}
		wantError(t, f.unlink(crm), "InvalidRequestException",
			"Recovery point "+crm+" cannot be disassociated from its parent while its status is DELETING")
		if err := f.delete(parent); err != nil {
			t.Errorf("deletion of the parent: %v", err)
		}
		f.wantPoint(web, vault.Completed, "")
	})
}

// What happens to children before their parent is complete counts, too.
func TestCompleteParentTx(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent := f.nested(id, 1, 7, vault.Composite{IsParent: true})
		web := f.child(id, 2, parent, "web", 7)
		f.child(id, 3, parent, "crm", 7)
		wantError(t, f.delete(parent), "InvalidResourceStateException", "")
		if err := f.delete(web); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(parent, vault.Creating, "Member web was deleted.")
		f.completeParent(id, parent, "Member db was not backed up: no.")
		f.wantPoint(parent, vault.Partial, "Member web was deleted. Member db was not backed up: no.")
	})
}

func TestDropParentTx_KeepsChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent := f.nested(id, 1, 7, vault.Composite{IsParent: true})
		web := f.child(id, 2, parent, "web", 7)
		for range 2 {
			f.update(func(ctx context.Context, tx *meta.Tx) error { return f.DropParentTx(ctx, tx, id, parent) })
		}
		if d := f.describe(web); *d.Status != vault.Completed || d.ParentRecoveryPointArn != nil {
			t.Errorf("the child is %+v, want it COMPLETED and alone", d)
		}
		if n := f.count("home"); n != 1 {
			t.Errorf("%d recovery points, want the child", n)
		}
	})
}

func TestUpdateRecoveryPointLifecycle_OfParentAndChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		outer := f.nested(id, 8, 7, vault.Composite{IsParent: true})
		parent := f.nested(id, 1, 7, vault.Composite{IsParent: true, ParentARN: outer, MemberID: "inner"})
		f.clock.add(time.Second)
		web, crm := f.child(id, 2, parent, "web", 7), f.child(id, 3, parent, "crm", 7)
		f.completeParent(id, parent, "")
		f.completeParent(id, outer, "")
		set := func(arn string, days int64) error {
			_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{BackupVaultName: "home",
				RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: &days}})
			return err
		}
		for _, step := range []struct {
			arn        string
			days, want int64
		}{
			{web, 30, 30}, {crm, 3, 30}, {web, 5, 5}, {crm, -1, 0}, {crm, 4, 5},
		} {
			if err := set(step.arn, step.days); err != nil {
				t.Fatal(err)
			}
			f.wantDays(parent, step.want)
			f.wantDays(outer, step.want)
		}
		wantError(t, set(parent, 9), "InvalidRequestException", "The lifecycle of recovery point "+parent+
			", which is composite, is the longest of its nested recovery points: change theirs")
		if err := set(parent, 5); err != nil {
			t.Errorf("the lifecycle that a parent has: %v", err)
		}
		if err := f.delete(web); err != nil {
			t.Fatal(err)
		}
		f.wantDays(parent, 4)
		f.wantDays(outer, 4)
		f.wantPoint(outer, vault.Partial, "Member inner is incomplete.")
		if err := f.unlink(crm); err != nil {
			t.Fatal(err)
		}
		f.wantDays(parent, 4)
		if err := set(parent, 9); err != nil {
			t.Errorf("lifecycle of a parent without children: %v", err)
		}
		f.wantDays(outer, 9)
	})
}

func TestSweep_ParentGoesAfterItsChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		f.clock.add(7*24*time.Hour - time.Second) // the parent is a second older than its children
		if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
			t.Errorf("Sweep = %d, %v while there are children", n, err)
		}
		f.wantPoint(parent, vault.Completed, "")
		f.clock.add(time.Second)
		if n, err := f.Sweep(f.ctx); n != 2 || err != nil {
			t.Errorf("Sweep = %d, %v, want the children", n, err)
		}
		f.clock.add(time.Second)
		if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
			t.Errorf("Sweep = %d, %v, want the parent", n, err)
		}
		if diff := cmp.Diff([]string{web, crm, parent}, f.deletions(id)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestComposite_IsNotRead(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		parent, web, _ := f.family(f.vault("home"))
		want := "Recovery point " + parent + " is composite: it has no data of its own and cannot be restored itself. " +
			"Restore its members, the recovery points of which it is the parent"
		_, err := f.FindPoint(f.ctx, account, region, parent)
		wantError(t, err, "InvalidRequestException", want)
		err = f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.RestorableTx(ctx, tx, account, region, parent)
			return err
		})
		wantError(t, err, "InvalidRequestException", want)
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.RestorableTx(ctx, tx, account, region, web)
			return err
		})
		_, err = f.GetRecoveryPointRestoreMetadata(f.ctx, &backupapi.GetRecoveryPointRestoreMetadataInput{
			BackupVaultName: "home", RecoveryPointArn: parent})
		wantError(t, err, "InvalidParameterValueException", "")
	})
}

// A child whose role allows no deletion keeps its data, so that the parent lacks nothing.
func TestDeleteRecoveryPoint_OfAChildThatBecomesExpired(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		parent, web, _ := f.family(f.vault("home"))
		f.others.refusal = "no"
		if err := f.delete(web); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(web, vault.Expired, "no")
		f.wantPoint(parent, vault.Completed, "")
		f.others.refusal = ""
		if err := f.delete(web); err != nil {
			t.Fatal(err)
		}
		f.wantPoint(parent, vault.Partial, "Member web was deleted.")
	})
}
