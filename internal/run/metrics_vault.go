package run

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/vault"
)

// VaultMetrics shows what vaults were last recorded to take: a few numbers for each vault, and nothing for each recovery
// point. They are read from the records when they are asked for, so they survive a restart, and all servers on one
// database show the same. It is a [prometheus.Collector].
type VaultMetrics struct {
	vaults  *vault.Service
	ledgers *ledger.DB
	log     *slog.Logger
	gauges  []vaultGauge
	damaged *prometheus.Desc
}

type vaultGauge struct {
	desc  *prometheus.Desc
	value func(vault.Usage) float64
}

// metricsPatience is how long records are waited for.
const metricsPatience = 5 * time.Second

// NewVaultMetrics registers the metrics of vaults.
func NewVaultMetrics(reg prometheus.Registerer, vaults *vault.Service, ledgers *ledger.DB, log *slog.Logger) *VaultMetrics {
	m := &VaultMetrics{vaults: vaults, ledgers: ledgers, log: log}
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("lockfast_vault_"+name, help, []string{"account", "region", "vault"}, nil)
	}
	add := func(name, help string, value func(vault.Usage) float64) {
		m.gauges = append(m.gauges, vaultGauge{describe(name, help), value})
	}
	add("physical_bytes", "Bytes of all objects of a vault.", func(u vault.Usage) float64 { return float64(u.PhysicalBytes) })
	add("live_bytes", "Bytes of packs that recovery points or running jobs need.", func(u vault.Usage) float64 { return float64(u.LiveBytes) })
	add("dead_bytes", "Bytes of packs that nothing needs, which wait for a reclaim.", func(u vault.Usage) float64 { return float64(u.DeadBytes) })
	add("retained_bytes", "Dead bytes in packs that the store retained when they were measured, so that no reclaim frees them yet.",
		func(u vault.Usage) float64 { return float64(u.RetainedBytes) })
	add("dead_part_bytes", "Bytes, before compression, of small files that nothing needs in bundles that something needs.",
		func(u vault.Usage) float64 { return float64(u.DeadPartBytes) })
	add("locked_bytes", "Live bytes that only recovery points need which cannot be deleted now.",
		func(u vault.Usage) float64 { return float64(u.LockedBytes) })
	add("logical_bytes", "Sum of the sizes of the recovery points of a vault.", func(u vault.Usage) float64 { return float64(u.LogicalBytes) })
	add("cold_live_bytes", "Live bytes in cold storage.", func(u vault.Usage) float64 { return float64(u.Cold.LiveBytes) })
	add("cold_dead_bytes", "Dead bytes in cold storage.", func(u vault.Usage) float64 { return float64(u.Cold.DeadBytes) })
	add("cold_dead_part_bytes", "Dead part bytes in cold storage.", func(u vault.Usage) float64 { return float64(u.Cold.DeadPartBytes) })
	add("recovery_points", "Recovery points of a vault, whatever their status.", func(u vault.Usage) float64 { return float64(u.Points) })
	add("measured_timestamp_seconds", "When the bytes of a vault were measured.",
		func(u vault.Usage) float64 { return float64(u.MeasuredAt.UnixMicro()) / 1e6 })
	m.damaged = describe("damaged_objects", "Objects of a vault that are known to be damaged.")
	reg.MustRegister(m)
	return m
}

// Describe implements [prometheus.Collector].
func (m *VaultMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range m.gauges {
		ch <- g.desc
	}
	ch <- m.damaged
}

// Collect implements [prometheus.Collector]. Without the database there are no metrics of vaults.
func (m *VaultMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsPatience)
	defer cancel()
	all, err := m.vaults.Usages(ctx)
	damaged, derr := m.ledgers.Damaged(ctx)
	if err := errors.Join(err, derr); err != nil {
		m.log.Warn("metrics of vaults not read", "error", err)
		return
	}
	for _, u := range all {
		for _, g := range m.gauges {
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(u), u.Account, u.Region, u.Vault)
		}
		ch <- prometheus.MustNewConstMetric(m.damaged, prometheus.GaugeValue, float64(damaged[u.UUID]), u.Account, u.Region, u.Vault)
	}
}
