package protected_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/protected"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

const account, region, homeUUID = "000000000000", "us-east-1", "11111111-2222-4333-8444-555555555555"

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type others struct{ restored protected.Restore }

func (others) VaultUUID(_ context.Context, _, _, name string) (string, error) {
	if name != "home" {
		return "", backupapi.ResourceNotFoundExceptionf("no vault %s", name)
	}
	return homeUUID, nil
}

func (o others) LatestRestore(context.Context, string, string, string) (protected.Restore, bool, error) {
	return o.restored, !o.restored.CreatedAt.IsZero(), nil
}

func resource(n int, at time.Time) backupapi.ProtectedResource {
	return backupapi.ProtectedResource{
		ResourceArn: new(fmt.Sprintf("arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-%d", n)), ResourceType: new("EFS"),
		LastBackupTime: &at, LastBackupVaultArn: new("arn:aws:backup:us-east-1:000000000000:backup-vault:home"),
		LastRecoveryPointArn: new(fmt.Sprintf("arn:aws:backup:us-east-1:000000000000:recovery-point:%d", n)),
	}
}

func run(t *testing.T, o others, test func(t *testing.T, ctx context.Context, s *protected.Service, put func(vault string, r backupapi.ProtectedResource), drop func(vault, arn string))) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, protected.Migrations())
		s := protected.New(db, o, o, restjson.NewPager([]byte("key")))
		ctx := caller.With(t.Context(), caller.Caller{Account: account, Region: region})
		update := func(fn func(ctx context.Context, tx *meta.Tx) error) {
			t.Helper()
			if err := db.Update(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		test(t, ctx, s, func(vault string, r backupapi.ProtectedResource) {
			update(func(ctx context.Context, tx *meta.Tx) error {
				return s.PutProtectedTx(ctx, tx, account, region, vault, r)
			})
		}, func(vault, arn string) {
			update(func(ctx context.Context, tx *meta.Tx) error {
				return s.DropProtectedTx(ctx, tx, account, region, vault, arn)
			})
		})
	})
}

func TestListProtectedResources_PagesInOrder(t *testing.T) {
	run(t, others{}, func(t *testing.T, ctx context.Context, s *protected.Service, put func(string, backupapi.ProtectedResource), drop func(string, string)) {
		var want []backupapi.ProtectedResource
		for n := range 7 {
			put("", resource(n, day))
			want = append(want, resource(n, day.Add(time.Hour)))
			put("", want[n]) // a newer recovery point
		}
		var got []backupapi.ProtectedResource
		in := &backupapi.ListProtectedResourcesInput{MaxResults: new(3)}
		for {
			out, err := s.ListProtectedResources(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, out.Results...)
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
			drop("", *out.Results[0].ResourceArn) // what was listed may go meanwhile
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("all pages (-want +got):\n%s", diff)
		}
	})
}

func TestListProtectedResourcesByBackupVault_ListsThatVault(t *testing.T) {
	run(t, others{}, func(t *testing.T, ctx context.Context, s *protected.Service, put func(string, backupapi.ProtectedResource), _ func(string, string)) {
		put("", resource(1, day))
		put(homeUUID, resource(2, day))
		out, err := s.ListProtectedResourcesByBackupVault(ctx, &backupapi.ListProtectedResourcesByBackupVaultInput{BackupVaultName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]backupapi.ProtectedResource{resource(2, day)}, out.Results); diff != "" {
			t.Errorf("resources (-want +got):\n%s", diff)
		}
		_, err = s.ListProtectedResourcesByBackupVault(ctx, &backupapi.ListProtectedResourcesByBackupVaultInput{BackupVaultName: "absent"})
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); !ok {
			t.Errorf("missing vault = %v, want ResourceNotFoundException", err)
		}
	})
}

func TestDescribeProtectedResource(t *testing.T) {
	o := others{protected.Restore{CreatedAt: day, Took: 61 * time.Second, PointCreatedAt: day.Add(-time.Hour)}}
	run(t, o, func(t *testing.T, ctx context.Context, s *protected.Service, put func(string, backupapi.ProtectedResource), drop func(string, string)) {
		r := resource(1, day)
		put("", r)
		out, err := s.DescribeProtectedResource(ctx, &backupapi.DescribeProtectedResourceInput{ResourceArn: *r.ResourceArn})
		if err != nil {
			t.Fatal(err)
		}
		if *out.LastRecoveryPointArn != *r.LastRecoveryPointArn || *out.LatestRestoreExecutionTimeMinutes != 2 ||
			!out.LatestRestoreJobCreationDate.Equal(day) {
			t.Errorf("DescribeProtectedResource = %+v", out)
		}
		drop("", *r.ResourceArn)
		_, err = s.DescribeProtectedResource(ctx, &backupapi.DescribeProtectedResourceInput{ResourceArn: *r.ResourceArn})
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); !ok {
			t.Errorf("after its last recovery point went: %v, want ResourceNotFoundException", err)
		}
		_, err = s.DescribeProtectedResource(ctx, &backupapi.DescribeProtectedResourceInput{ResourceArn: "foo"})
		if _, ok := errors.AsType[*backupapi.InvalidParameterValueException](err); !ok {
			t.Errorf("no ARN: %v, want InvalidParameterValueException", err)
		}
	})
}

func TestListProtectedResourcesByBackupVault_Pages(t *testing.T) {
	run(t, others{}, func(t *testing.T, ctx context.Context, s *protected.Service, put func(string, backupapi.ProtectedResource), drop func(string, string)) {
		var want []backupapi.ProtectedResource
		for n := range 5 {
			put(homeUUID, resource(n, day))
			put("", resource(n+3, day)) // the list of all is another one
			want = append(want, resource(n, day))
		}
		for size := 1; size <= 6; size++ {
			var got []backupapi.ProtectedResource
			in := &backupapi.ListProtectedResourcesByBackupVaultInput{BackupVaultName: "home", MaxResults: &size}
			for {
				out, err := s.ListProtectedResourcesByBackupVault(ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Results) > size || len(out.Results) == 0 || len(got) > len(want) {
					t.Fatalf("a page of %d has %d resources, after %d", size, len(out.Results), len(got))
				}
				got = append(got, out.Results...)
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pages of %d (-want +got):\n%s", size, diff)
			}
		}
		all, err := s.ListProtectedResources(ctx, &backupapi.ListProtectedResourcesInput{MaxResults: new(1)})
		if err != nil || all.NextToken == nil {
			t.Fatalf("ListProtectedResources = %+v, %v, want a token", all, err)
		}
		_, err = s.ListProtectedResourcesByBackupVault(ctx, &backupapi.ListProtectedResourcesByBackupVaultInput{BackupVaultName: "home", NextToken: all.NextToken})
		if _, bad := errors.AsType[*wire.Invalid](err); !bad {
			t.Errorf("token of the list of all: %v, want a refusal", err)
		}
	})
}
