package restjson_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// TestServe_BoundsNumbers sends numbers at and beyond both bounds of the model.
func TestServe_BoundsNumbers(t *testing.T) {
	t.Parallel()
	var got *int
	b := newBench(t, backupapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, backupapi.ListBackupJobs,
			func(_ context.Context, in *backupapi.ListBackupJobsInput) (*backupapi.ListBackupJobsOutput, error) {
				got = in.MaxResults
				return &backupapi.ListBackupJobsOutput{}, nil
			}, anything[backupapi.ListBackupJobsInput]("backup:ListBackupJobs"))
	})
	for _, n := range []int{1, 2, 999, 1000} {
		got = nil
		resp, body := b.send(t, "GET", fmt.Sprintf("/backup-jobs?maxResults=%d", n), "")
		if resp.StatusCode != 200 || got == nil || *got != n {
			t.Errorf("maxResults=%d: answer = %d %s, MaxResults = %v", n, resp.StatusCode, body, got)
		}
	}
	for n, rule := range map[string]string{
		"0": "have value greater than or equal to 1", "-1": "have value greater than or equal to 1", "-2147483648": "have value greater than or equal to 1",
		"1001": "have value less than or equal to 1000", "2147483647": "have value less than or equal to 1000",
		"99999999999999999999": "be an integer", "1.5": "be an integer",
	} {
		got = nil
		resp, body := b.send(t, "GET", "/backup-jobs?maxResults="+n, "")
		wantAnswer(t, resp, body, 400, "InvalidParameterValueException",
			fmt.Sprintf(`{"Message":"Value '%s' at 'MaxResults' failed to satisfy constraint: Member must %s"}`, n, rule))
		if got != nil {
			t.Errorf("maxResults=%s reached the operation", n)
		}
	}
}

// TestOpenPage_Limit takes the number of a request that was validated, and the most there may be where it names none.
func TestOpenPage_Limit(t *testing.T) {
	t.Parallel()
	for _, limit := range []*int{nil, new(1), new(7), new(1000)} {
		in := &backupapi.ListBackupJobsInput{MaxResults: limit}
		if err := wire.Validate(backupapi.ListBackupJobs.Input, in); err != nil {
			t.Fatal(err)
		}
		want := restjson.DefaultLimit
		if limit != nil {
			want = *limit
		}
		page, err := restjson.OpenPage(t.Context(), restjson.NewPager([]byte("key")), backupapi.ListBackupJobs, in)
		if err != nil || page.Limit != want || page.After != nil {
			t.Errorf("OpenPage = %+v, %v, want the first %d", page, err, want)
		}
	}
}
