package run_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/vault"
)

// freshARN is the ARN of recovery point n, beside [agingARN].
func freshARN(n string) string { return strings.TrimSuffix(agingARN, "1") + n }

// unsized returns how many recovery points a server shows without sizes that computes them only when they are asked for.
func (k *coldKit) unsized() (n int) {
	k.Helper()
	sizes := &run.Sizes{Vaults: k.vaults, Store: k.store, Log: slog.New(slog.DiscardHandler)}
	onDemand := vault.New(vault.Options{DB: k.db, Sizes: sizes, Pager: restjson.NewPager([]byte("key"))})
	out, err := onDemand.ListRecoveryPoints(k.ctx, &lockfastapi.ListRecoveryPointsInput{})
	k.try(err)
	for _, p := range out.RecoveryPoints {
		if p.UniqueBytes == nil {
			n++
		}
	}
	return n
}

// A server may end with the transaction that makes a recovery point, and the next one begins with nothing in its memory.
func TestSizes_OfChangesThatNobodyWasToldOf(t *testing.T) {
	aging(t, func(k *coldKit) {
		if n := k.unsized(); n != 0 {
			k.Errorf("%d recovery points have no sizes, want all to have them", n)
		}
		k.point(freshARN("2"))
		if n := k.unsized(); n != 0 {
			k.Errorf("%d recovery points have no sizes after one was made, want all to have them", n)
		}
	})
}

func TestSizes_OfChangesDuringAMeasure(t *testing.T) {
	aging(t, func(k *coldKit) {
		k.blobs.listing = func() { k.point(freshARN("2")) }
		if n := k.unsized(); n != 1 || k.blobs.listing != nil {
			k.Fatalf("%d recovery points have no sizes, want the one that was made during the measure", n)
		}
		if n := k.unsized(); n != 0 {
			k.Errorf("%d recovery points have no sizes, want all to have them", n)
		}
	})
}

// changes returns how many changes of the vault were counted.
func (k *coldKit) changes() int64 {
	k.Helper()
	v, err := k.vaults.Vault(k.ctx, k.id)
	k.try(err)
	return v.Changes
}

// What only a recovery point that is being deleted needs is not shared any more, even if it is long before it has gone.
func TestSizes_CountADeletionThatHasBegun(t *testing.T) {
	aging(t, func(k *coldKit) {
		_, err := k.vaults.DeleteRecoveryPoint(k.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: agingARN})
		k.try(err)
		before := k.changes()
		k.blobs.breaks("", "/r/")
		d := &run.Deleter{DB: k.db, Vaults: k.vaults, Ledgers: k.colder.Ledgers, Store: k.store, Authority: &others{}, Log: slog.New(slog.DiscardHandler)}
		if settled, err := d.Drain(k.ctx, k.id); err != nil || settled {
			k.Fatalf("Drain = %v, %v, want the data to be left", settled, err)
		}
		if k.changes() == before {
			k.Error("a deletion that has begun is not counted")
		}
	})
}

func TestSizes_CountInAServerThatStops(t *testing.T) {
	aging(t, func(k *coldKit) {
		before := k.changes()
		ctx, cancel := context.WithCancel(k.ctx)
		cancel()
		k.try((&run.Sizes{Vaults: k.vaults}).Rearranged(ctx, k.id))
		if k.changes() == before {
			k.Error("a change is not counted")
		}
	})
}
