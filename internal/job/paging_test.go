package job_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// TestListBackupJobs_WhileJobsComeAndGo: whatever is added and removed between its pages, a list shows every job that is there
// throughout exactly once, newest first, and only such as its filters let through.
func TestListBackupJobs_WhileJobsComeAndGo(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		rapid.Check(t, func(rt *rapid.T) {
			f.clear()
			there := map[string]string{} // job to resource
			add := func() {
				f.clock.add(time.Duration(rapid.IntRange(0, 1).Draw(rt, "pause")) * time.Microsecond) // jobs may be of the same moment
				resource := rapid.SampledFrom([]string{dataARN, otherARN}).Draw(rt, "resource")
				there[f.backup(resource)] = resource
			}
			for range rapid.IntRange(0, 12).Draw(rt, "jobs") {
				add()
			}
			throughout := map[string]bool{}
			for id := range there {
				throughout[id] = true
			}
			in := &backupapi.ListBackupJobsInput{MaxResults: new(rapid.IntRange(1, 4).Draw(rt, "page size"))}
			if rapid.Bool().Draw(rt, "filtered") {
				in.ByResourceArn, in.ByState = new(dataARN), new(backupapi.BackupJobStateCreated)
			}
			var seen []string
			var last time.Time
			for {
				out, err := f.ListBackupJobs(f.ctx, in)
				if err != nil {
					rt.Fatal(err)
				}
				for _, j := range out.BackupJobs {
					if in.ByResourceArn != nil && *j.ResourceArn != dataARN {
						rt.Errorf("job of %s in a list of %s", *j.ResourceArn, dataARN)
					}
					if len(seen) > 0 && j.CreationDate.After(last) {
						rt.Errorf("job of %s after one of %s", j.CreationDate, last)
					}
					seen, last = append(seen, *j.BackupJobId), *j.CreationDate
				}
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
				for range rapid.IntRange(0, 2).Draw(rt, "added") {
					add()
				}
				if ids := slices.Sorted(maps.Keys(there)); len(ids) > 0 && rapid.Bool().Draw(rt, "one is removed") {
					id := rapid.SampledFrom(ids).Draw(rt, "removed")
					f.remove(id)
					delete(there, id)
					delete(throughout, id)
				}
			}
			for id := range throughout {
				n := 0
				for _, s := range seen {
					if s == id {
						n++
					}
				}
				want := 1
				if in.ByResourceArn != nil && there[id] != dataARN {
					want = 0
				}
				if n != want {
					rt.Errorf("job %s was listed %d times, want %d", id, n, want)
				}
			}
			slices.Sort(seen)
			if len(slices.Compact(seen)) != len(seen) {
				rt.Error("a job was listed twice")
			}
		})
	})
}

func (f *fixture) clear() {
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM backup_job")
		return err
	})
}

func (f *fixture) remove(id string) {
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM backup_job WHERE id = ?", id)
		return err
	})
}

func TestLists_RefuseFiltersThatAreNoARNs(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		bad := new("foo")
		_, backups := f.ListBackupJobs(f.ctx, &backupapi.ListBackupJobsInput{ByResourceArn: bad})
		_, restores := f.ListRestoreJobs(f.ctx, &backupapi.ListRestoreJobsInput{ByRestoreTestingPlanArn: bad})
		_, resource := f.ListCopyJobs(f.ctx, &backupapi.ListCopyJobsInput{ByResourceArn: bad})
		_, vault := f.ListCopyJobs(f.ctx, &backupapi.ListCopyJobsInput{ByDestinationVaultArn: bad})
		_, source := f.ListCopyJobs(f.ctx, &backupapi.ListCopyJobsInput{BySourceRecoveryPointArn: bad})
		for _, err := range []error{backups, restores, resource, vault, source} {
			wantError(t, err, "InvalidParameterValueException", `malformed ARN "foo": does not begin with "arn:"`)
		}
	})
}
