package job_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/wire"
)

// rows lists a summary in pages of one, as "begin-end state type category count".
func (f *fixture) rows(in backupapi.ListBackupJobSummariesInput) (all []string) {
	f.t.Helper()
	in.MaxResults = new(1)
	for {
		out, err := f.ListBackupJobSummaries(f.ctx, &in)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range out.BackupJobSummaries {
			category := ""
			if r.MessageCategory != nil {
				category = *r.MessageCategory
			}
			all = append(all, fmt.Sprintf("%s-%s %s %s %s %d", r.StartTime.Format("02"), r.EndTime.Format("02"), *r.State, *r.ResourceType,
				category, *r.Count))
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return all
		}
	}
}

func TestListBackupJobSummaries(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		// Two jobs are stopped on the first day, one waits; on the second day two wait, and on the third, which is today, one.
		for _, stops := range [][]bool{{true, true, false}, {false, false}, {false}} {
			for _, stop := range stops {
				out, err := f.StartBackupJob(f.ctx, &backupapi.StartBackupJobInput{
					BackupVaultName: "home", ResourceArn: dataARN, IamRoleArn: role, StartWindowMinutes: new(int64(1_000_000))})
				if err != nil {
					t.Fatal(err)
				}
				if !stop {
					continue
				}
				if _, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: *out.BackupJobId}); err != nil {
					t.Fatal(err)
				}
			}
			f.clock.add(24 * time.Hour)
		}
		f.clock.add(-24 * time.Hour)
		any, all := new(backupapi.BackupJobStatusAny), new(backupapi.BackupJobStatusAggregateAll)
		for _, c := range []struct {
			name string
			in   backupapi.ListBackupJobSummariesInput
			want []string
		}{
			{"nothing given", backupapi.ListBackupJobSummariesInput{},
				[]string{"02-03 CREATED EFS  2", "01-02 ABORTED EFS MISCELLANEOUS 2", "01-02 CREATED EFS  1"}},
			{"any state", backupapi.ListBackupJobSummariesInput{State: any, AggregationPeriod: new(backupapi.AggregationPeriodSevenDays)},
				[]string{"24-03 ABORTED EFS MISCELLANEOUS 2", "24-03 CREATED EFS  3"}},
			{"all states", backupapi.ListBackupJobSummariesInput{State: all, MessageCategory: new("AGGREGATE_ALL")},
				[]string{"02-03 AGGREGATE_ALL EFS AGGREGATE_ALL 2", "01-02 AGGREGATE_ALL EFS AGGREGATE_ALL 3"}},
			{"all of everything", backupapi.ListBackupJobSummariesInput{State: all, MessageCategory: new("AGGREGATE_ALL"),
				ResourceType: new("AGGREGATE_ALL"), AggregationPeriod: new(backupapi.AggregationPeriodFourteenDays)},
				[]string{"17-03 AGGREGATE_ALL AGGREGATE_ALL AGGREGATE_ALL 5"}},
			{"one state", backupapi.ListBackupJobSummariesInput{State: new(backupapi.BackupJobStatusAborted)},
				[]string{"01-02 ABORTED EFS MISCELLANEOUS 2"}},
			{"one category", backupapi.ListBackupJobSummariesInput{MessageCategory: new("Miscellaneous")},
				[]string{"01-02 ABORTED EFS MISCELLANEOUS 2"}},
			{"one type", backupapi.ListBackupJobSummariesInput{ResourceType: new("S3")}, nil},
		} {
			if diff := cmp.Diff(c.want, f.rows(c.in)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	})
}

func TestListBackupJobSummaries_OfOtherAccounts(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		const other = "111111111111"
		for _, a := range []string{account, other} {
			f.ctx = as(t.Context(), a, region)
			f.backup(dataARN)
		}
		f.clock.add(24 * time.Hour)
		summary := func(caller string, id *string) (accounts []string, err error) {
			f.ctx = as(t.Context(), caller, region)
			out, err := f.ListBackupJobSummaries(f.ctx, &backupapi.ListBackupJobSummariesInput{AccountId: id})
			if err != nil {
				return nil, err
			}
			for _, r := range out.BackupJobSummaries {
				accounts = append(accounts, fmt.Sprint(*r.AccountId, " ", *r.Count))
			}
			return accounts, nil
		}
		for _, c := range []struct {
			caller string
			id     *string
			want   []string // nil: refused
		}{
			{account, nil, []string{account + " 1"}},
			{account, new(other), []string{other + " 1"}},
			{account, new("ANY"), []string{other + " 1", account + " 1"}},
			{account, new("AGGREGATE_ALL"), []string{"AGGREGATE_ALL 2"}},
			{other, nil, []string{other + " 1"}},
			{other, new(account), nil},
			{other, new("ANY"), []string{other + " 1"}},
		} {
			got, err := summary(c.caller, c.id)
			if _, denied := errors.AsType[*wire.Denied](err); (err != nil) != denied || denied != (c.want == nil) {
				t.Errorf("summary for %s of %v: %v", c.caller, c.id, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("summary for %s (-want +got):\n%s", c.caller, diff)
			}
		}
	})
}
