package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/task"
	"github.com/lockfast/lockfast/repo"
)

// How many damaged objects, recovery points and paths of each a message names.
const (
	maxDamages      = 5
	maxDamagedItems = 20
)

// verify checks a vault. Damage is an error that names the objects and what recovery points miss.
func (w *Tasks) verify(ctx context.Context, t task.Task, report map[string]string, progress func(done, total int64)) error {
	v, err := w.Store.Existing(ctx, t.VaultUUID)
	if err != nil {
		return err
	}
	var r repo.CheckReport
	if v != nil { // else there is nothing to check
		if r, err = v.Check(ctx, repo.CheckOptions{Level: t.Level, Progress: progress, Since: t.Began,
			States: stateKeeper{w.States, t.VaultUUID}}); err != nil {
			return err
		}
	}
	report["level"] = strconv.Itoa(t.Level)
	report["damaged_objects"] = strconv.Itoa(len(r.Damages))
	for key, n := range map[string]int64{
		"recovery_points": r.Points, "packs": r.Packs, "bytes": r.Bytes, "packs_read": r.PacksRead, "bytes_read": r.BytesRead,
		"packs_read_before": r.PacksKnown, "packs_checksum": r.PacksSummed, "bytes_checksum": r.BytesSummed,
		"foreign_objects": r.ForeignCount, "recovery_points_mended": r.Mended,
		"damaged_objects_not_needed": int64(len(r.Healed)), "damaged_recovery_points": int64(len(r.DamagedPoints)),
	} {
		report[key] = strconv.FormatInt(n, 10)
	}
	// A check that walks no trees does not see all that an earlier one may have found.
	if err := mark(ctx, w.Vaults, t.VaultUUID, r.DamagedPoints, t.Level >= repo.CheckTrees); err != nil || len(r.Damages) == 0 {
		return err
	}
	name := pointNames(ctx, w.Log, w.Vaults, v, t.VaultUUID)
	text, err := json.Marshal(damagesOf(r, name))
	if err != nil {
		return err
	}
	report["damages"] = string(text)
	return lost(r, name)
}

// outdatedHint says what to do about a database that is older than the store.
const outdatedHint = "nothing is removed from the vault until a new database is made with `lockfast store rebuild`, " +
	"or the object r/ID of each such recovery point that is known to be garbage is removed from the store"

// journalHint says what to do about a database that does not fit its journal.
const journalHint = "rows of the database were changed or lost: put a newer copy of it back, or make a new one with " +
	"`lockfast store rebuild`, which finds every recovery point that is still in the store"

// advised adds what to do to an error, if it says that the database is older than the store.
func advised(err error) error {
	if errors.Is(err, repo.ErrOutdated) {
		return fmt.Errorf("%w; %s", err, outdatedHint)
	}
	return err
}

// lost is damage as an error, with what recovery points miss.
func lost(r repo.CheckReport, name func(repo.PointID) string) error {
	err := damage(r.Damages)
	if err == nil {
		return nil
	}
	var more string
	for _, p := range r.DamagedPoints[:min(len(r.DamagedPoints), maxDamages)] {
		more += "; " + Missing(name(p.ID), p, maxDamagedItems)
	}
	if n := len(r.DamagedPoints) - maxDamages; n > 0 {
		more += fmt.Sprintf("; and %d more recovery points", n)
	}
	if slices.ContainsFunc(r.Damages, func(d repo.Damage) bool { return errors.Is(d.Err, repo.ErrOutdated) }) {
		more += "; " + outdatedHint
	}
	if slices.ContainsFunc(r.Damages, func(d repo.Damage) bool { return errors.Is(d.Err, repo.ErrJournal) }) {
		more += "; " + journalHint
	}
	return fmt.Errorf("%w%s", err, more)
}

func damage(all []repo.Damage) error {
	if len(all) == 0 {
		return nil
	}
	var names []string
	for _, d := range all[:min(len(all), maxDamages)] {
		names = append(names, fmt.Sprintf("%s (%v; affects %d recovery points)", d.Object, d.Err, len(d.Points)))
	}
	if more := len(all) - maxDamages; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%d damaged objects: %s", len(all), strings.Join(names, ", "))
}

// Missing says what of a recovery point cannot be restored; it names so many paths at most.
func Missing(point string, p repo.DamagedPoint, most int) string {
	items := displayed(p.Paths[:min(len(p.Paths), most)])
	if more := int64(len(p.Paths)-len(items)) + p.More; more > 0 {
		items = append(items, fmt.Sprintf("and %d more", more))
	}
	if p.Unknown {
		items = append(items, "what a part of its tree names that cannot be read")
	}
	return fmt.Sprintf("recovery point %s misses %s", point, strings.Join(items, ", "))
}
