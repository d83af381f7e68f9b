package job_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// TestListRestoreJobsByProtectedResource_PagesAndStatus lists jobs of which two at a time are of the same moment, by pages of every size.
func TestListRestoreJobsByProtectedResource_PagesAndStatus(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		by := map[backupapi.RestoreJobStatus][]string{}
		when := map[string]time.Time{}
		for i := range 6 {
			r := f.restore(restoreInput(here))
			when[r.ID] = f.clock.now()
			status := backupapi.RestoreJobStatusPending
			if i%3 == 0 {
				f.claimRestore(r.ID)
				status = backupapi.RestoreJobStatusRunning
			}
			by[status] = append(by[status], r.ID)
			if i%2 == 1 {
				f.clock.add(time.Second)
			}
		}
		for _, tt := range []struct {
			name   string
			status *backupapi.RestoreJobStatus
			want   int
		}{
			{"all", nil, 6},
			{"pending", new(backupapi.RestoreJobStatusPending), 4},
			{"running", new(backupapi.RestoreJobStatusRunning), 2},
			{"completed", new(backupapi.RestoreJobStatusCompleted), 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				want := by[backupapi.RestoreJobStatusPending]
				if tt.status == nil {
					want = append(want, by[backupapi.RestoreJobStatusRunning]...)
				} else {
					want = by[*tt.status]
				}
				for size := 1; size <= tt.want+1; size++ {
					in := &backupapi.ListRestoreJobsByProtectedResourceInput{ResourceArn: dataARN, ByStatus: tt.status, MaxResults: &size}
					seen := f.pagesOfRestores(in, when)
					if diff := cmp.Diff(count(want), count(seen)); diff != "" {
						t.Errorf("pages of %d: %s", size, diff)
					}
				}
			})
		}
		other := &backupapi.ListRestoreJobsByProtectedResourceInput{ResourceArn: otherARN}
		if seen := f.pagesOfRestores(other, when); len(seen) > 0 {
			t.Errorf("restores of another resource: %v", seen)
		}
	})
}

// pagesOfRestores reads all pages of a list and returns the jobs in order, which is that of their times, newest first.
func (f *fixture) pagesOfRestores(in *backupapi.ListRestoreJobsByProtectedResourceInput, when map[string]time.Time) (seen []string) {
	f.t.Helper()
	for {
		out, err := f.ListRestoreJobsByProtectedResource(f.ctx, in)
		if err != nil {
			f.t.Fatal(err)
		}
		if in.MaxResults != nil && len(out.RestoreJobs) > *in.MaxResults {
			f.t.Fatalf("a page of %d has %d jobs", *in.MaxResults, len(out.RestoreJobs))
		}
		for _, j := range out.RestoreJobs {
			if len(seen) > 0 && when[*j.RestoreJobId].After(when[seen[len(seen)-1]]) {
				f.t.Errorf("job %s follows an older one", *j.RestoreJobId)
			}
			if in.ByStatus != nil && *j.Status != *in.ByStatus {
				f.t.Errorf("job is %s, want %s", *j.Status, *in.ByStatus)
			}
			seen = append(seen, *j.RestoreJobId)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return seen
		}
		if len(out.RestoreJobs) == 0 || len(seen) > len(when) {
			f.t.Fatalf("a page of %d jobs has a token, after %d of %d", len(out.RestoreJobs), len(seen), len(when))
		}
	}
}

func count(ids []string) map[string]int {
	n := map[string]int{}
	for _, id := range ids {
		n[id]++
	}
	return n
}
