package run_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/run"
)

// TestScrubber_LooksAtEverything removes an index segment behind the back of a server: what it does in the background finds that, and
// has read all packs.
func TestScrubber_LooksAtEverything(t *testing.T) {
	aging(t, func(k *coldKit) {
		v, err := k.store.Existing(k.ctx, k.id)
		k.try(err)
		var segment blob.Name
		for info, err := range k.blobs.Store.List(k.ctx, "") {
			k.try(err)
			if strings.Contains(string(info.Name), "/x/") {
				segment = info.Name
			}
		}
		k.try(k.blobs.Store.Delete(k.ctx, segment))
		log := slog.New(slog.DiscardHandler)
		s := &run.Scrubber{Store: k.store, Vaults: k.vaults, Ledgers: ledger.New(k.db, ledger.Options{}), Share: 1, ColdShare: 1, Log: log,
			States: &run.States{Vaults: k.vaults, Store: k.store, Log: log}, Metrics: run.NewMetrics(prometheus.NewRegistry())}
		s.Look(k.ctx)
		c, err := v.Coverage(k.ctx, time.Hour)
		k.try(err)
		if len(c.Damages) != 1 || !strings.HasSuffix(string(segment), c.Damages[0].Object) || c.PacksKnown != c.Packs || c.Packs == 0 {
			k.Errorf("Coverage = %+v, want damage of %s and all packs to be read", c, segment)
		}
	})
}
