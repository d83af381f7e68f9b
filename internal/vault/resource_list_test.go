package vault_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// TestListRecoveryPointsByResource_Pages lists recovery points in two vaults, of which four at a time are of the same moment.
func TestListRecoveryPointsByResource_Pages(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, other := f.vault("home"), f.vault("other")
		var want []string
		for i := range 4 {
			f.creating(home, i)
			f.creating(other, i) // a copy has the same ARN
			want = append(want, fmt.Sprint("home ", i), fmt.Sprint("other ", i))
			if i%2 == 1 {
				f.clock.add(time.Second)
			}
		}
		slices.Sort(want)
		for size := 1; size <= len(want)+1; size++ {
			in := &backupapi.ListRecoveryPointsByResourceInput{ResourceArn: dataARN, MaxResults: &size}
			var seen []string
			var last backupapi.RecoveryPointByResource
			for {
				out, err := f.ListRecoveryPointsByResource(f.ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.RecoveryPoints) > size || len(out.RecoveryPoints) == 0 || len(seen) > len(want) {
					t.Fatalf("a page of %d has %d recovery points, after %d", size, len(out.RecoveryPoints), len(seen))
				}
				for _, p := range out.RecoveryPoints {
					if last.CreationDate != nil && p.CreationDate.After(*last.CreationDate) {
						t.Errorf("%s follows an older one", *p.RecoveryPointArn)
					}
					last = p
					seen = append(seen, *p.BackupVaultName+" "+(*p.RecoveryPointArn)[len(*p.RecoveryPointArn)-1:])
				}
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
			}
			slices.Sort(seen)
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("pages of %d: %s", size, diff)
			}
		}
	})
}
