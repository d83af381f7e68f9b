package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/lockfast/lockfast/internal/task"
	"github.com/lockfast/lockfast/repo"
)

// maxLost is how many lost objects a report lists.
const maxLost = 100

// Lost is an object that could not be repaired, as the report of a repair lists it.
type Lost struct {
	Object         string   `json:"object"`
	Reason         string   `json:"reason"`
	RecoveryPoints []string `json:"recovery_points"` // ARNs, or ids of those whose manifest cannot be read
	Paths          []string `json:"paths,omitempty"` // of the first of them, at most 100
}

// repair replaces what is damaged in a vault; it verifies it first if that is asked for, or if no damage is known. What could not be replaced is an error that names the objects.
func (w *Tasks) repair(ctx context.Context, t task.Task, report map[string]string, progress func(done, total int64)) error {
	v, err := w.Store.Existing(ctx, t.VaultUUID)
	if err != nil || v == nil { // nothing in the store, nothing to repair
		return err
	}
	o := repo.RepairOptions{Check: t.Level >= 0, Level: t.Level, Progress: progress, States: stateKeeper{w.States, t.VaultUUID}}
	if !o.Check {
		o.Level = repo.CheckBytes
	}
	if t.SourceUUID != "" {
		source, err := w.Store.Existing(ctx, t.SourceUUID)
		if err != nil {
			return fmt.Errorf("open the vault to repair from: %w", err)
		}
		if source != nil {
			o.From = []*repo.Vault{source}
		}
	}
	var r repo.RepairReport
	for {
		r, err = v.Repair(ctx, o)
		if !errors.Is(err, repo.ErrBusy) || !wait(ctx, busyRetry) {
			break
		}
	}
	report["verified"] = strconv.FormatBool(r.Checked)
	for name, n := range RepairFigures(r) {
		report[name] = strconv.FormatInt(n, 10)
	}
	if err != nil {
		return advised(err)
	}
	if err := mark(ctx, w.Vaults, t.VaultUUID, r.DamagedPoints, r.Busy == 0); err != nil || len(r.Lost) == 0 {
		return err
	}
	text, err := json.Marshal(DescribeLost(r.Lost, pointNames(ctx, w.Log, w.Vaults, v, t.VaultUUID)))
	if err != nil {
		return err
	}
	report["lost"] = string(text)
	return fmt.Errorf("not everything could be repaired: %w", damage(r.Lost))
}

// RepairFigures returns the numbers of a repair by their names in reports.
func RepairFigures(r repo.RepairReport) map[string]int64 {
	return map[string]int64{
		"damaged_objects": r.Damaged, "packs_replaced": r.Packs, "segments_replaced": r.Segments, "refsets_written": r.Refsets,
		"manifests_written": r.Manifests, "states_written": r.States, "contents_moved": r.Slots, "contents_from_parity": r.FromParity,
		"contents_from_vault": r.FromVault, "contents_from_source": r.FromOther, "bytes_written": r.Bytes, "packs_busy": r.Busy,
		"lost_objects": int64(len(r.Lost)),
	}
}

// DescribeLost words what is lost for people.
func DescribeLost(all []repo.Damage, name func(repo.PointID) string) []Lost {
	var out []Lost
	for _, d := range all[:min(len(all), maxLost)] {
		l := Lost{Object: d.Object, Reason: d.Err.Error(), RecoveryPoints: []string{}}
		for _, id := range d.Points {
			l.RecoveryPoints = append(l.RecoveryPoints, name(id))
		}
		if len(d.Paths) > 0 {
			l.Paths = displayed(d.Paths)
		}
		out = append(out, l)
	}
	return out
}
