package server_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/server"
)

// random returns bytes that cannot be compressed, the same for a seed.
func random(seed uint64, n int) string {
	b := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	r := rand.NewChaCha8(key)
	_, _ = r.Read(b)
	return string(b)
}

// onBoth runs a test with options for a server on either database.
func onBoth(t *testing.T, test func(t *testing.T, o server.Options)) {
	for name, metadata := range map[string]func(testing.TB) string{
		"SQLite":     func(testing.TB) string { return "sqlite" },
		"PostgreSQL": metatest.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, t.TempDir())
			o.Config.Metadata = metadata(t)
			test(t, o)
		})
	}
}

// TestStory is the main job, through the SDK.
func TestStory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) { story(start(t, o)) })
}

func story(f *fixture) {
	home := filepath.Join(f.TempDir(), "home")
	write(f, home, map[string]string{"a/one": "1", "a/b/two": strings.Repeat("two\n", 50_000), "three": "",
		"four": random(4, 3<<20)})
	if err := os.Symlink("a/one", filepath.Join(home, "link")); err != nil {
		f.Fatal(err)
	}
	f.vault("home")
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	first, before := f.backup("home", arn), tree(f, home)
	write(f, home, map[string]string{"a/one": "changed", "five": random(5, 2<<20)})
	if err := os.Remove(filepath.Join(home, "three")); err != nil {
		f.Fatal(err)
	}
	second, after := f.backup("home", arn), tree(f, home)

	for point, want := range map[string]map[string]string{first: before, second: after} {
		if diff := cmp.Diff(want, f.restored(point, arn, home)); diff != "" {
			f.Errorf("restore of %s (-want +got):\n%s", point, diff)
		}
	}
	f.described(first, arn)

	store := filepath.Join(f.options.Config.Data, "store")
	full := size(f, store)
	if _, err := f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &second}); err != nil {
		f.Fatal(err)
	}
	f.gone("home", second)
	freed := f.reclaim("home")
	if left := size(f, store); full-left < 2<<20 || freed < 2<<20 {
		f.Errorf("reclaim freed %d bytes by its own account, and %d of %d in the store, want at least 2 MiB", freed, full-left, full)
	}
	if diff := cmp.Diff(before, f.restored(first, arn, home)); diff != "" {
		f.Errorf("restore of %s after reclaim (-want +got):\n%s", first, diff)
	}
	f.verify("home")
}

// restored restores a recovery point through StartRestoreJob and returns what landed.
func (f *fixture) restored(point, arn, home string) map[string]string {
	f.Helper()
	meta := must(f.sdk.GetRecoveryPointRestoreMetadata(f.Context(), &backup.GetRecoveryPointRestoreMetadataInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
	m := meta.RestoreMetadata
	m["newFileSystem"] = "false"
	out := must(f.sdk.StartRestoreJob(f.Context(), &backup.StartRestoreJobInput{
		RecoveryPointArn: &point, Metadata: m, IamRoleArn: aws.String(role)}))(f)
	j := f.awaitRestore(*out.RestoreJobId)
	if j.Status != types.RestoreJobStatusCompleted || aws.ToString(j.CreatedResourceArn) != arn {
		f.Fatalf("restore job ended %s: %s; created %s", j.Status, aws.ToString(j.StatusMessage), aws.ToString(j.CreatedResourceArn))
	}
	dirs, err := filepath.Glob(filepath.Join(home, "aws-backup-restore_????-??-??T??-??-??-???Z"))
	if err != nil || len(dirs) != 1 {
		f.Fatalf("the restore made %q, want one directory aws-backup-restore_...", dirs)
	}
	got := tree(f, dirs[0])
	if err := os.RemoveAll(dirs[0]); err != nil {
		f.Fatal(err)
	}
	return got
}

// described checks what the lists say while there are two recovery points of one resource.
func (f *fixture) described(first, arn string) {
	f.Helper()
	vault := must(f.sdk.DescribeBackupVault(f.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("home")}))(f)
	if vault.NumberOfRecoveryPoints != 2 {
		f.Errorf("NumberOfRecoveryPoints = %d, want 2", vault.NumberOfRecoveryPoints)
	}
	p := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &first}))(f)
	if p.Status != types.RecoveryPointStatusCompleted || *p.ResourceArn != arn || *p.BackupSizeInBytes < 3<<20 || p.LastRestoreTime == nil {
		f.Errorf("DescribeRecoveryPoint = %+v", p)
	}
	list := must(f.sdk.ListProtectedResources(f.Context(), &backup.ListProtectedResourcesInput{}))(f)
	if len(list.Results) != 1 || *list.Results[0].ResourceArn != arn {
		f.Errorf("ListProtectedResources = %+v", list.Results)
	}
	f.eventually(func() bool {
		sizes := own(f, lockfastapi.ListRecoveryPoints, &lockfastapi.ListRecoveryPointsInput{})
		return len(sizes.RecoveryPoints) == 2 && sizes.RecoveryPoints[0].UniqueBytes != nil
	})
}

// reclaim frees a vault's space and returns how much.
func (f *fixture) reclaim(vault string) int64 {
	f.Helper()
	task := own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: vault})
	freed, err := strconv.ParseInt(f.task(task.TaskId).Report["bytes_freed"], 10, 64)
	if err != nil {
		f.Fatal(err)
	}
	return freed
}

// verify reads everything in a vault and expects it to be sound.
func (f *fixture) verify(vault string) {
	f.Helper()
	f.task(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: vault}).TaskId)
}

// task waits for a task, which must complete.
func (f *fixture) task(id string) *lockfastapi.DescribeTaskOutput {
	f.Helper()
	t := f.ended(id)
	if t.State != lockfastapi.TaskStateCompleted {
		f.Fatalf("task %s of vault %s ended %s: %s", t.Kind, t.BackupVaultName, t.State, aws.ToString(t.StatusMessage))
	}
	return t
}

// ended waits for the end of a task, whatever it is.
func (f *fixture) ended(id string) (t *lockfastapi.DescribeTaskOutput) {
	f.Helper()
	f.eventually(func() bool {
		t = own(f, lockfastapi.DescribeTask, &lockfastapi.DescribeTaskInput{TaskId: id})
		return t.State != lockfastapi.TaskStateRunning
	})
	return t
}

// TestOperations holds what is registered and api/unimplemented.txt equal to the models.
func TestOperations(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	text, err := os.ReadFile("../../api/unimplemented.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range f.server.Operations() {
		got[name] = "implemented"
	}
	for line := range strings.Lines(string(text)) {
		name := strings.TrimSpace(line)
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if got[name] != "" {
			t.Errorf("%s is listed in api/unimplemented.txt and %s", name, got[name])
		}
		got[name] = "listed"
	}
	for _, name := range server.ModelOperations() {
		if got[name] == "" {
			t.Errorf("%s has no behaviour and is not listed in api/unimplemented.txt", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not an operation of the models", name)
	}
}
