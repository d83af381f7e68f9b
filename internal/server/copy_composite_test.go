package server_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/server"
)

func TestCopy_OfACompositeRecoveryPoint(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		f.vault("home")
		f.vault("offsite")
		_, web := f.member("web", map[string]string{"a/one": "1", "two": random(2, 1<<20)})
		_, crm := f.member("crm", map[string]string{"three": "3"})
		parent := f.backup("home", f.group("shop", "web", "crm"))
		started := f.startCopy("home", parent, "offsite")
		if !started.IsParent {
			t.Error("the copy job of a composite recovery point is no parent")
		}
		j := f.awaitCopy(started.CopyJobId)
		if j.State != types.CopyJobStateCompleted || !j.IsParent || *j.NumberOfChildJobs != 2 || j.ChildJobsInState["COMPLETED"] != 2 {
			t.Fatalf("copy job ended %s, %q: %+v", j.State, aws.ToString(j.StatusMessage), j)
		}
		children := f.childCopies(started.CopyJobId)
		for name, path := range map[string]string{"web": web, "crm": crm} {
			c := children[name]
			p := must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("offsite"),
				RecoveryPointArn: c.DestinationRecoveryPointArn}))(f)
			if aws.ToString(p.ParentRecoveryPointArn) != *j.DestinationRecoveryPointArn || aws.ToString(p.CompositeMemberIdentifier) != name {
				t.Errorf("copy of %s = %+v", name, p)
			}
			if diff := cmp.Diff(tree(t, path), f.restoredInto(*c.DestinationRecoveryPointArn)); diff != "" {
				t.Errorf("restore of the copy of %s (-want +got):\n%s", name, diff)
			}
		}
		p := must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("offsite"),
			RecoveryPointArn: j.DestinationRecoveryPointArn}))(f)
		if !p.IsParent || p.Status != types.RecoveryPointStatusCompleted || !p.CreationDate.Equal(*f.point(parent).CreationDate) {
			t.Errorf("composite copy = %+v", p)
		}
		alone := f.copy("home", *f.children(parent)["crm"].RecoveryPointArn, "offsite")
		p = must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("offsite"), RecoveryPointArn: &alone}))(f)
		if p.ParentRecoveryPointArn != nil {
			t.Errorf("the copy of a nested recovery point alone has the parent %s", *p.ParentRecoveryPointArn)
		}
		f.reclaim("offsite")
		f.verify("offsite")
	})
}

// childCopies returns the children of a copy job, by the names of the members.
func (f *fixture) childCopies(id *string) map[string]types.CopyJob {
	f.Helper()
	byName := map[string]types.CopyJob{}
	for _, j := range must(f.sdk.ListCopyJobs(f.Context(), &backup.ListCopyJobsInput{ByParentJobId: id}))(f).CopyJobs {
		byName[aws.ToString(j.CompositeMemberIdentifier)] = j
	}
	return byName
}

func TestCopy_OfAPartOfAComposite(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	f.vault("offsite")
	f.member("web", map[string]string{"a": "1"})
	f.member("crm", map[string]string{"b": "2"})
	parent := f.backup("home", f.group("shop", "web", "crm"))
	if err := f.deletePoint(*f.children(parent)["web"].RecoveryPointArn); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() bool { return len(f.children(parent)) == 1 })
	j := f.awaitCopy(f.startCopy("home", parent, "offsite").CopyJobId)
	if j.State != types.CopyJobStateCompleted || *j.NumberOfChildJobs != 1 {
		t.Fatalf("copy of what is left ended %s, %q", j.State, aws.ToString(j.StatusMessage))
	}
	p := must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("offsite"),
		RecoveryPointArn: j.DestinationRecoveryPointArn}))(f)
	if p.Status != types.RecoveryPointStatusPartial || aws.ToString(p.StatusMessage) != "Member web was deleted." {
		t.Errorf("copy of a PARTIAL recovery point is %s, %q", p.Status, aws.ToString(p.StatusMessage))
	}
	if err := f.deletePoint(*f.children(parent)["crm"].RecoveryPointArn); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() bool { return len(f.children(parent)) == 0 })
	_, err := f.sdk.StartCopyJob(t.Context(), copyOrder("home", parent, "offsite"))
	f.wantRefused("copy of a composite recovery point without nested ones", err)
}
