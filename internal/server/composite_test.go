package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/resource"
)

// member makes and registers a directory of some name.
func (f *fixture) member(name string, files map[string]string) (arn, path string) {
	f.Helper()
	path = filepath.Join(f.TempDir(), name)
	write(f, path, files)
	return own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &path, Type: "EFS"}).ResourceArn, path
}

func (f *fixture) group(name string, members ...string) (arn string) {
	f.Helper()
	return own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Name: &name, Type: "CloudFormation",
		Members: members}).ResourceArn
}

// children returns the children of a recovery point, by the names of the members.
func (f *fixture) children(point string) map[string]types.RecoveryPointByBackupVault {
	f.Helper()
	list := must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{
		BackupVaultName: aws.String("home"), ByParentRecoveryPointArn: &point}))(f)
	byName := map[string]types.RecoveryPointByBackupVault{}
	for _, p := range list.RecoveryPoints {
		byName[aws.ToString(p.CompositeMemberIdentifier)] = p
	}
	return byName
}

func (f *fixture) point(arn string) *backup.DescribeRecoveryPointOutput {
	f.Helper()
	return must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &arn}))(f)
}

func (f *fixture) deletePoint(arn string) error {
	_, err := f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &arn})
	return err
}

// wantRefused expects an InvalidRequestException.
func (f *fixture) wantRefused(what string, err error) {
	f.Helper()
	if _, ok := errors.AsType[*types.InvalidRequestException](err); !ok {
		f.Errorf("%s: %v, want InvalidRequestException", what, err)
	}
}

func TestComposite(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		f.vault("home")
		web, webPath := f.member("web", map[string]string{"a/one": "1", "two": random(2, 1<<20)})
		_, crmPath := f.member("crm", map[string]string{"three": "3"})
		shop := f.group("shop", "web", "crm")
		id, parent := f.startBackup("home", shop)
		j := f.awaitBackup(id)
		if j.State != types.BackupJobStateCompleted || !j.IsParent || *j.NumberOfChildJobs != 2 || j.ChildJobsInState["COMPLETED"] != 2 {
			t.Fatalf("job ended %s, %q: %+v", j.State, aws.ToString(j.StatusMessage), j)
		}
		p, children := f.point(parent), f.children(parent)
		if p.Status != types.RecoveryPointStatusCompleted || !p.IsParent || len(children) != 2 || *p.ResourceArn != shop {
			t.Fatalf("parent = %+v with %d children", p, len(children))
		}
		if c := children["web"]; *c.ResourceArn != web || *c.ParentRecoveryPointArn != parent || c.IsParent {
			t.Errorf("child = %+v", c)
		}
		for name, path := range map[string]string{"web": webPath, "crm": crmPath} {
			if diff := cmp.Diff(tree(t, path), f.restoredInto(*children[name].RecoveryPointArn)); diff != "" {
				t.Errorf("restore of %s (-want +got):\n%s", name, diff)
			}
		}
		f.parentIsNotRestored(parent)
		f.takenApart(parent, *children["web"].RecoveryPointArn, *children["crm"].RecoveryPointArn)
		if diff := cmp.Diff(tree(t, crmPath), f.restoredInto(*children["crm"].RecoveryPointArn)); diff != "" {
			t.Errorf("restore of what was disassociated (-want +got):\n%s", diff)
		}
		f.reclaim("home")
		f.verify("home")
	})
}

func (f *fixture) parentIsNotRestored(parent string) {
	f.Helper()
	_, err := f.sdk.StartRestoreJob(f.Context(), &backup.StartRestoreJobInput{RecoveryPointArn: &parent,
		Metadata: map[string]string{"newFileSystem": "false"}, IamRoleArn: aws.String(role)})
	f.wantRefused("restore of a parent", err)
	if err != nil && !strings.Contains(err.Error(), "Restore its members") {
		f.Errorf("restore of a parent: %v, want it to say what to do", err)
	}
	_, err = restjson.Call(f.Context(), f.own, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{
		RecoveryPointArn: parent, Directory: filepath.Join(f.TempDir(), "x")})
	if err == nil || !strings.Contains(err.Error(), "Restore its members") {
		f.Errorf("restore of a parent to a directory: %v", err)
	}
}

// takenApart deletes one child of two, disassociates the other, and deletes the parent.
func (f *fixture) takenApart(parent, web, crm string) {
	f.Helper()
	f.wantRefused("deletion of a parent with two children", f.deletePoint(parent))
	if err := f.deletePoint(web); err != nil {
		f.Fatal(err)
	}
	f.gone("home", web)
	if p := f.point(parent); p.Status != types.RecoveryPointStatusPartial || aws.ToString(p.StatusMessage) != "Member web was deleted." {
		f.Errorf("parent of a deleted child is %s, %q", p.Status, aws.ToString(p.StatusMessage))
	}
	f.wantRefused("deletion of a parent with a child", f.deletePoint(parent))
	unlink := func(arn string) error {
		_, err := f.sdk.DisassociateRecoveryPointFromParent(f.Context(), &backup.DisassociateRecoveryPointFromParentInput{
			BackupVaultName: aws.String("home"), RecoveryPointArn: &arn})
		return err
	}
	if err := unlink(crm); err != nil {
		f.Fatal(err)
	}
	f.wantRefused("disassociation from no parent", unlink(crm))
	if p := f.point(crm); p.ParentRecoveryPointArn != nil || p.Status != types.RecoveryPointStatusCompleted {
		f.Errorf("what was disassociated = %+v", p)
	}
	if n := len(f.children(parent)); n != 0 || f.point(parent).Status != types.RecoveryPointStatusPartial {
		f.Errorf("the parent is %s with %d children", f.point(parent).Status, n)
	}
	if err := f.deletePoint(parent); err != nil {
		f.Fatal(err)
	}
	f.gone("home", parent)
	if n := f.points(); n != 1 {
		f.Errorf("%d recovery points are left, want the one that was disassociated", n)
	}
}

func TestComposite_MembersThatFail(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	_, webPath := f.member("web", map[string]string{"one": "1"})
	_, crmPath := f.member("crm", map[string]string{"two": "2"})
	f.group("inner", "crm")
	shop := f.group("shop", "web", "inner")
	id, parent := f.startBackup("home", shop)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted {
		t.Fatalf("job ended %s, %q", j.State, aws.ToString(j.StatusMessage))
	}
	inner := f.children(parent)["inner"]
	if !inner.IsParent || len(f.children(*inner.RecoveryPointArn)) != 1 {
		t.Errorf("the group inside = %+v", inner)
	}
	before := f.points()
	if before != 4 {
		t.Errorf("%d recovery points, want two parents and two children", before)
	}

	if err := os.RemoveAll(crmPath); err != nil {
		t.Fatal(err)
	}
	id, parent = f.startBackup("home", shop)
	j := f.awaitBackup(id)
	if m := aws.ToString(j.StatusMessage); j.State != types.BackupJobStatePartial || !strings.Contains(m, "Member inner was not backed up: Member crm") ||
		!strings.Contains(m, crmPath) {
		t.Errorf("job ended %s, %q, want PARTIAL and the member named", j.State, m)
	}
	if p := f.point(parent); p.Status != types.RecoveryPointStatusPartial || aws.ToString(p.StatusMessage) != aws.ToString(j.StatusMessage) ||
		len(f.children(parent)) != 1 {
		t.Errorf("parent is %s, %q with %d children", p.Status, aws.ToString(p.StatusMessage), len(f.children(parent)))
	}
	if n := f.points(); n != before+2 {
		t.Errorf("%d recovery points, want a parent and a child more than %d", n, before)
	}

	if err := os.RemoveAll(webPath); err != nil {
		t.Fatal(err)
	}
	id, _ = f.startBackup("home", shop)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed || j.RecoveryPointArn != nil || !strings.Contains(aws.ToString(j.StatusMessage), webPath) {
		t.Errorf("job ended %s, %q, want FAILED", j.State, aws.ToString(j.StatusMessage))
	}
	if n := f.points(); n != before+2 {
		t.Errorf("a failed job left %d recovery points, want %d", n, before+2)
	}
}

// A group whose jobs are many more than the places for jobs is backed up all the same: a parent takes no place.
func TestComposite_DeclaredInTheFileWithOnePlaceForJobs(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.BackupJobs = 1
	inside := ""
	for _, name := range []string{"a", "b", "c", "d"} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, map[string]string{"file": name})
		members := []string{name}
		if inside != "" {
			members = append(members, inside)
		}
		inside = "group-" + name
		o.Config.Resources = append(o.Config.Resources, server.Resource{Type: "CloudFormation", Name: inside, Members: members},
			server.Resource{Type: "EFS", Name: name, Path: path})
	}
	f := start(t, o)
	f.vault("home")
	var arn string
	for _, r := range own(f, lockfastapi.ListResources, &lockfastapi.ListResourcesInput{Type: new("CloudFormation")}).Resources {
		if r.Name == inside {
			arn = r.ResourceArn
		}
	}
	f.backup("home", arn)
	if n := f.points(); n != 8 {
		t.Errorf("%d recovery points, want one per group and directory", n)
	}
}

func TestComposite_Stopped(t *testing.T) {
	t.Parallel()
	running := make(chan struct{}, 2)
	o := server.WithDriver(options(t, t.TempDir()), func(d resource.Driver) resource.Driver {
		return only{d, "crm", running}
	})
	f := start(t, o)
	f.vault("home")
	f.member("web", map[string]string{"one": "1"})
	f.member("crm", map[string]string{"two": "2"})
	id, parent := f.startBackup("home", f.group("shop", "web", "crm"))
	<-running
	f.eventually(func() bool { return f.children(parent)["web"].Status == types.RecoveryPointStatusCompleted })
	must(f.sdk.StopBackupJob(t.Context(), &backup.StopBackupJobInput{BackupJobId: &id}))(f)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateAborted {
		t.Errorf("job ended %s, %q, want ABORTED", j.State, aws.ToString(j.StatusMessage))
	}
	all := f.all()
	if len(all) != 1 || all[0].ParentRecoveryPointArn != nil || all[0].Status != types.RecoveryPointStatusCompleted {
		t.Errorf("recovery points = %+v, want the finished member alone", all)
	}
}

// only is a driver whose captures of one resource do not end, and say when they begin.
type only struct {
	resource.Driver
	name    string
	running chan struct{}
}

func (o only) Capture(ctx context.Context, c resource.Capture) (resource.Report, error) {
	if c.Resource.Name != o.name {
		return o.Driver.Capture(ctx, c)
	}
	o.running <- struct{}{}
	<-ctx.Done()
	return resource.Report{}, ctx.Err()
}

func TestComposite_InterruptedIsEndedByTheNextServer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		running := make(chan struct{}, 2)
		f := start(t, server.WithDriver(server.Impatient(o), func(d resource.Driver) resource.Driver {
			return only{d, "crm", running}
		}))
		f.vault("home")
		f.member("web", map[string]string{"one": "1"})
		f.member("crm", map[string]string{"two": "2"})
		id, parent := f.startBackup("home", f.group("shop", "web", "crm"))
		<-running
		f.stop()
		f = start(t, o)
		if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted || len(f.children(parent)) != 2 {
			t.Errorf("job = %s, %q, want COMPLETED with both children", j.State, aws.ToString(j.StatusMessage))
		}
	})
}
