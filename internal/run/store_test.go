package run_test

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/run"
)

// A vault that was erased is asked for by what had been planned before, such as a reclaim or the sizes of its recovery
// points. That must not bring its ledger back.
func TestExisting_LeavesNoLedgerBehind(t *testing.T) {
	t.Parallel()
	db := metatest.Open(t, meta.Options{URL: "sqlite::memory:"}, ledger.Migrations())
	ledgers := ledger.New(db, ledger.Options{})
	store := run.NewStore(run.StoreOptions{
		Blobs: func() (blob.Store, error) { return mem.New(), nil },
		DB:    db, Ledgers: ledgers, Log: slog.New(slog.DiscardHandler),
	})
	if v, err := store.Existing(t.Context(), uuid.NewString()); v != nil || err != nil {
		t.Errorf("Existing = %v, %v, want nil, nil", v, err)
	}
	if names, err := ledgers.Vaults(t.Context()); len(names) > 0 || err != nil {
		t.Errorf("Vaults = %q, %v, want none", names, err)
	}
}
