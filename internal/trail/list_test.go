package trail_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// names describes listed calls: what was called on which vault.
func names(found []lockfastapi.TrailEvent) []string {
	out := []string{}
	for _, e := range found {
		name := e.EventName
		if len(e.ResourceArns) > 0 {
			arn := e.ResourceArns[0]
			name += " " + arn[len(arn)-2:]
		}
		out = append(out, name)
	}
	return out
}

func TestListTrailEvents_Filters(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		start := time.Now()
		f.create("AKIAALICE", "aa")
		f.describe("AKIAALICE", "aa")
		f.describe("ASIAROBOT", "bb")
		f.create("AKIAALICE", "forbidden")
		f.create("AKIABOB", "aa")
		f.describe("AKIABOB", "aa")
		forbidden := "arn:aws:backup:eu-north-1:" + account + ":backup-vault:forbidden"
		for name, c := range map[string]struct {
			in   lockfastapi.ListTrailEventsInput
			want []string
		}{
			"all, of the own account": {lockfastapi.ListTrailEventsInput{},
				[]string{"CreateBackupVault en", "DescribeBackupVault bb", "DescribeBackupVault aa", "CreateBackupVault aa"}},
			"event":         {lockfastapi.ListTrailEventsInput{EventName: new("CreateBackupVault")}, []string{"CreateBackupVault en", "CreateBackupVault aa"}},
			"user":          {lockfastapi.ListTrailEventsInput{UserName: new("night")}, []string{"DescribeBackupVault bb"}},
			"access key":    {lockfastapi.ListTrailEventsInput{AccessKeyId: new("ASIAROBOT")}, []string{"DescribeBackupVault bb"}},
			"resource":      {lockfastapi.ListTrailEventsInput{ResourceArn: new(vaultA)}, []string{"DescribeBackupVault aa", "CreateBackupVault aa"}},
			"errors":        {lockfastapi.ListTrailEventsInput{ErrorsOnly: new(true)}, []string{"CreateBackupVault en"}},
			"changes":       {lockfastapi.ListTrailEventsInput{ReadOnly: new(false)}, []string{"CreateBackupVault en", "CreateBackupVault aa"}},
			"reads":         {lockfastapi.ListTrailEventsInput{ReadOnly: new(true)}, []string{"DescribeBackupVault bb", "DescribeBackupVault aa"}},
			"before":        {lockfastapi.ListTrailEventsInput{EndTime: new(start.Add(-time.Minute))}, []string{}},
			"after":         {lockfastapi.ListTrailEventsInput{StartTime: new(start.Add(time.Minute))}, []string{}},
			"several":       {lockfastapi.ListTrailEventsInput{ResourceArn: &forbidden, ErrorsOnly: new(true), ReadOnly: new(false)}, []string{"CreateBackupVault en"}},
			"none with all": {lockfastapi.ListTrailEventsInput{ResourceArn: new(vaultA), ErrorsOnly: new(true)}, []string{}},
		} {
			found := f.list("AKIAALICE", c.in)
			found = slices.DeleteFunc(found, func(e lockfastapi.TrailEvent) bool { return e.EventName == "ListTrailEvents" })
			if diff := cmp.Diff(c.want, names(found)); diff != "" {
				f.Errorf("%s: %s", name, diff)
			}
		}
		if got := names(f.list("AKIABOB", lockfastapi.ListTrailEventsInput{})); !slices.Equal(got, []string{"DescribeBackupVault aa", "CreateBackupVault aa"}) {
			f.Errorf("the other account sees %v", got)
		}
	})
}

func TestListTrailEvents_PagesWhileCallsAreAdded(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		const calls = 20
		var want []string
		at := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
		for i := range calls { // three at a time have the same time
			name := fmt.Sprintf("v%02d", i)
			f.trail.Record(f.Context(), read(name, at.Add(time.Duration(i/3)*time.Second)))
			want = append(want, name)
		}
		for _, in := range []lockfastapi.ListTrailEventsInput{
			{EventName: new("DescribeBackupVault"), MaxResults: new(3)},
			{UserName: new("alice"), ReadOnly: new(true), EndTime: new(at.Add(time.Minute)), MaxResults: new(4)},
		} {
			var got []string
			for {
				out, err := restjson.Call(f.Context(), client(f.own, "AKIAALICE"), lockfastapi.ListTrailEvents, &in)
				if err != nil {
					f.Fatal(err)
				}
				for i, e := range out.TrailEvents {
					got = append(got, e.ResourceArns[0][len(e.ResourceArns[0])-3:])
					if i > 0 && e.EventTime.After(out.TrailEvents[i-1].EventTime) {
						f.Errorf("call %s comes after an older one", e.EventId)
					}
				}
				if out.NextToken == nil {
					break
				}
				in.NextToken = out.NextToken
				f.trail.Record(f.Context(), read("new", time.Now()))
			}
			got = slices.DeleteFunc(got, func(name string) bool { return name == "new" })
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				f.Error(diff)
			}
		}
	})
}

func TestListTrailEvents_EndsAPageThatGrowsLarge(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	const calls = 120
	for range calls {
		c := read("aa", time.Now())
		in := &lockfastapi.RegisterResourceInput{Path: new(string(make([]byte, 15<<10)))} // six times as long in JSON
		c.Service, c.Operation, c.Input = lockfastapi.Service, lockfastapi.ListResources.Descriptor, nil
		large := *lockfastapi.RegisterResource.Descriptor
		large.Name = "ListLargeThings"
		c.Operation, c.Input = &large, in
		f.trail.Record(t.Context(), c)
	}
	out, err := restjson.Call(t.Context(), client(f.own, "AKIAALICE"), lockfastapi.ListTrailEvents, &lockfastapi.ListTrailEventsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.TrailEvents) == calls || out.NextToken == nil {
		t.Errorf("a page has all of %d large records", len(out.TrailEvents))
	}
	if got := len(f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{EventName: new("ListLargeThings")})); got != calls {
		t.Errorf("%d records are listed on all pages, want %d", got, calls)
	}
}

func TestListTrailEvents_Refuses(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	now := time.Now()
	for name, in := range map[string]*lockfastapi.ListTrailEventsInput{
		"an end before the start": {StartTime: &now, EndTime: new(now.Add(-time.Second))},
		"a foreign token":         {NextToken: new("AAAA")},
		"a limit out of range":    {MaxResults: new(1001)},
	} {
		_, err := restjson.Call(t.Context(), client(f.own, "AKIAALICE"), lockfastapi.ListTrailEvents, in)
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestPrune_RemovesWhatIsOldEnough(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		now := time.Now()
		const old = 2400 // more than two batches of changes
		for i := range old {
			c := read(fmt.Sprintf("v%d", i%7), now.Add(-31*24*time.Hour-time.Duration(i)*time.Second))
			if i%3 == 0 {
				c.Caller.Account = other
			}
			if i%2 == 0 {
				change(c)
			}
			f.trail.Record(f.Context(), c)
		}
		f.trail.Record(f.Context(), read("young", now.Add(-29*24*time.Hour)))
		f.trail.Record(f.Context(), change(read("young", now.Add(-29*24*time.Hour))))
		f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{MaxResults: new(1), EndTime: new(now.Add(-30 * 24 * time.Hour)), EventName: new("none")})
		if n, err := f.trail.Prune(f.Context()); n != 0 || err != nil {
			f.Errorf("Prune() = %d, %v without an age, want 0", n, err)
		}
		f.trail.Days = 30
		if n, err := f.trail.Prune(f.Context()); n != old || err != nil {
			f.Errorf("Prune() = %d, %v, want %d", n, err, old)
		}
		for table, column := range map[string]string{"trail_event": "at", "trail_resource": "at", "trail_segment": "last_at"} {
			if left := f.count(table, column, now.Add(-28*24*time.Hour)); left != 1 {
				f.Errorf("%d old rows are left in %s, want 1", left, table)
			}
		}
	})
}

// count counts rows that are older than a time.
func (f *fixture) count(table, column string, before time.Time) (n int) {
	f.Helper()
	err := f.db.View(f.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+table+" WHERE "+column+" < ?", meta.Micros(before)).Scan(&n)
	})
	if err != nil {
		f.Fatal(err)
	}
	return n
}
