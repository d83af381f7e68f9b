package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
)

type fixture struct {
	*events.Service
	t   *testing.T
	ctx context.Context
	db  *meta.DB
	now time.Time
}

// run runs a test on both databases.
func run(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		f := &fixture{t: t, db: open(t, events.Migrations()), now: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
			ctx: caller.With(t.Context(), caller.Caller{Account: account, Region: region})}
		f.Service = events.New(events.Options{DB: f.db, Pager: restjson.NewPager([]byte("key")), Now: func() time.Time { return f.now }})
		test(t, f)
	})
}

func pointARN(n int) string {
	return fmt.Sprintf("arn:aws:backup:%s:%s:recovery-point:%d", region, account, n)
}

// add records an event of a recovery point.
func (f *fixture) add(n int, vault, status string, name backupapi.BackupVaultEvent) {
	f.t.Helper()
	err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
		return f.EnqueueTx(ctx, tx, event(n, vault, status, name))
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.now = f.now.Add(time.Second)
}

func event(n int, vault, status string, name backupapi.BackupVaultEvent) events.Event {
	return events.Event{Type: events.PointStateChange, Account: account, Region: region, Resources: []string{pointARN(n)},
		Detail: events.Point{BackupVaultName: vault, BackupVaultARN: "arn:aws:backup:eu-west-1:123456789012:backup-vault:" + vault,
			CreationDate: events.Time{Time: time.Date(2026, 3, 1, 11, 0, 0, 5e6, time.UTC)}, RoleARN: "role", ResourceType: "EFS",
			ResourceARN: "fs", Status: status, IsEncrypted: "true", StorageClass: "WARM", VaultEvent: name}}
}

// Shape: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html
func TestListEvents_DocumentIsWhatEventBridgeDelivers(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.add(1, "home", "EXPIRED", backupapi.BackupVaultEventRecoveryPointModified)
		list, err := f.List(f.ctx, events.Filter{Account: account, Region: region}, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("List = %v, %v", list, err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(list[0].Document), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"version": "0", "id": list[0].EventId, "detail-type": "Recovery Point State Change", "source": "aws.backup",
			"account": account, "time": "2026-03-01T12:00:00Z", "region": region, "resources": []any{pointARN(1)},
			"detail": map[string]any{
				"backupVaultName": "home", "backupVaultArn": "arn:aws:backup:eu-west-1:123456789012:backup-vault:home",
				"creationDate": "2026-03-01T11:00:00.005Z", "iamRoleArn": "role", "resourceType": "EFS", "resourceArn": "fs",
				"status": "EXPIRED", "isEncrypted": "true", "storageClass": "WARM", "backupVaultEvent": "RECOVERY_POINT_MODIFIED",
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("document (-want +got):\n%s", diff)
		}
	})
}

func TestListEvents(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		start := f.now
		f.add(1, "home", "CREATING", "")
		f.add(1, "home", "COMPLETED", "")
		f.add(2, "other", "COMPLETED", "")
		f.add(1, "home", "EXPIRED", backupapi.BackupVaultEventRecoveryPointModified)
		for _, c := range []struct {
			name string
			in   lockfastapi.ListEventsInput
			want []string
		}{
			{"all, newest first", lockfastapi.ListEventsInput{}, []string{"1 EXPIRED", "2 COMPLETED", "1 COMPLETED", "1 CREATING"}},
			{"recovery point", lockfastapi.ListEventsInput{RecoveryPointArn: new(pointARN(2))}, []string{"2 COMPLETED"}},
			{"vault", lockfastapi.ListEventsInput{BackupVaultName: new("home")}, []string{"1 EXPIRED", "1 COMPLETED", "1 CREATING"}},
			{"type", lockfastapi.ListEventsInput{EventType: new(events.PointStateChange), BackupVaultName: new("other")}, []string{"2 COMPLETED"}},
			{"event of a vault", lockfastapi.ListEventsInput{EventType: new("RECOVERY_POINT_MODIFIED")}, []string{"1 EXPIRED"}},
			{"time", lockfastapi.ListEventsInput{After: &start, Before: new(start.Add(2 * time.Second))}, []string{"1 COMPLETED"}},
			{"nothing", lockfastapi.ListEventsInput{EventType: new("absent")}, nil},
		} {
			if diff := cmp.Diff(c.want, f.pages(c.in, 2)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
		_, err := f.ListEvents(f.ctx, &lockfastapi.ListEventsInput{NextToken: new("x")})
		if _, ok := errors.AsType[*wire.Invalid](err); !ok {
			t.Errorf("ListEvents with a bad token = %v, want it refused", err)
		}
		for _, c := range []caller.Caller{{Account: "999999999999", Region: region}, {Account: account, Region: "us-east-1"}} {
			out, err := f.ListEvents(caller.With(t.Context(), c), &lockfastapi.ListEventsInput{})
			if err != nil || out.Events == nil || len(out.Events) > 0 {
				t.Errorf("ListEvents of %v = %v, %v, want none", c, out.Events, err)
			}
		}
	})
}

// pages lists all pages of a size.
func (f *fixture) pages(in lockfastapi.ListEventsInput, size int) (lines []string) {
	f.t.Helper()
	in.MaxResults = &size
	for {
		out, err := f.ListEvents(f.ctx, &in)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range out.Events {
			lines = append(lines, (*e.RecoveryPointArn)[len(pointARN(0))-1:]+" "+*e.Status)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return lines
		}
	}
}

func TestEnqueueTx_NothingIsToldOfWhatDidNotHappen(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		broken := errors.New("broken")
		err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
			return errors.Join(f.EnqueueTx(ctx, tx, event(1, "home", "CREATING", "")), broken)
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if got := f.pages(lockfastapi.ListEventsInput{}, 10); got != nil {
			t.Errorf("events: %v, want none", got)
		}
	})
}

func TestPrune(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.add(1, "home", "CREATING", "")
		f.add(2, "home", "CREATING", "")
		f.now = f.now.Add(events.DefaultKeep - time.Second) // the second one is as old as events become
		if err := f.Prune(f.ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"2 CREATING"}, f.pages(lockfastapi.ListEventsInput{}, 10)); diff != "" {
			t.Error(diff)
		}
	})
}
