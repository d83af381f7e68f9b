package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// RecordDamage implements [repo.Findings].
func (v *Vault) RecordDamage(ctx context.Context, damages []repo.DamageRecord) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(damages, batch) {
			args := make([]any, 0, 6*len(some))
			for _, d := range some {
				args = append(args, t.vault, d.Object, d.Slot, d.Pack[:], d.Reason, meta.Micros(now))
			}
			row := "(" + marks(6) + ")"
			err := t.findings(ctx, "INSERT INTO ledger_damage (vault, object, slot, pack, reason, found_at) VALUES "+
				row+strings.Repeat(", "+row, len(some)-1)+" ON CONFLICT (vault, object, slot) DO NOTHING", args...)
			if err != nil {
				return fmt.Errorf("record damage: %w", err)
			}
			for _, d := range some {
				_, err := t.Exec(ctx, "UPDATE ledger_damage SET seen_at = ? WHERE vault = ? AND object = ? AND slot = ?",
					meta.Micros(now), t.vault, d.Object, d.Slot)
				if err != nil {
					return fmt.Errorf("record damage: %w", err)
				}
			}
		}
		return nil
	})
}

// findings runs a statement on what checks found, and raises the revision if it changed anything.
func (t *ledgerTx) findings(ctx context.Context, query string, args ...any) error {
	result, err := t.Exec(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if n > 0 {
		t.revision++
		t.changed = true
	}
	return err
}

// Damages implements [repo.Findings].
func (v *Vault) Damages(ctx context.Context) (all []repo.DamageRecord, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		all = nil
		rows, err := t.Query(ctx, `SELECT object, slot, pack, reason, found_at, seen_at FROM ledger_damage
			WHERE vault = ? ORDER BY object, slot`, t.vault)
		if err != nil {
			return fmt.Errorf("read damages: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var d repo.DamageRecord
			var pack []byte
			var found, seen int64
			if err := rows.Scan(&d.Object, &d.Slot, &pack, &d.Reason, &found, &seen); err != nil {
				return err
			}
			copy(d.Pack[:], pack)
			d.Found = meta.FromMicros(found)
			if seen > 0 {
				d.Seen = meta.FromMicros(seen)
			}
			all = append(all, d)
		}
		return rows.Err()
	})
	return all, err
}

// ClearDamage implements [repo.Findings].
func (v *Vault) ClearDamage(ctx context.Context, damages []repo.DamageRecord) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		for _, d := range damages {
			err := t.findings(ctx, "DELETE FROM ledger_damage WHERE vault = ? AND object = ? AND slot = ?", t.vault, d.Object, d.Slot)
			if err != nil {
				return fmt.Errorf("clear damage: %w", err)
			}
		}
		return nil
	})
}

// RecordVerified implements [repo.Findings].
func (v *Vault) RecordVerified(ctx context.Context, level int, packs []repo.ID) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(packs, batch) {
			args := append([]any{level, meta.Micros(now), t.vault}, anys(some)...)
			_, err := t.Exec(ctx, `INSERT INTO ledger_verified (vault, pack, level, verified_at)
				SELECT vault, id, CAST(? AS BIGINT), CAST(? AS BIGINT) FROM ledger_object
				WHERE vault = ? AND state < 5 AND id IN (`+marks(len(some))+`)
				ON CONFLICT (vault, pack, level) DO UPDATE SET verified_at = excluded.verified_at`, args...)
			if err != nil {
				return fmt.Errorf("record verification: %w", err)
			}
		}
		return nil
	})
}

// Verifications implements [repo.Findings].
func (v *Vault) Verifications(ctx context.Context) (all []repo.Verification, now time.Time, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		all = nil
		if now, err = t.now(ctx); err != nil {
			return err
		}
		rows, err := t.Query(ctx, `SELECT pack, level, verified_at FROM ledger_verified f
			JOIN ledger_object o ON o.vault = f.vault AND o.id = f.pack
			WHERE f.vault = ? AND o.state < ? ORDER BY pack, level`, t.vault, repo.ObjectRetired)
		if err != nil {
			return fmt.Errorf("read verifications: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var x repo.Verification
			var pack []byte
			var at int64
			if err := rows.Scan(&pack, &x.Level, &at); err != nil {
				return err
			}
			copy(x.Pack[:], pack)
			x.At = meta.FromMicros(at)
			all = append(all, x)
		}
		return rows.Err()
	})
	return all, now, err
}

// Damaged counts the objects that are known to be damaged and are still there, by vault. Vaults without any are left out.
func (d *DB) Damaged(ctx context.Context) (counts map[string]int64, err error) {
	err = d.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		counts = map[string]int64{}
		rows, err := tx.Query(ctx, `SELECT f.vault, COUNT(DISTINCT f.object) FROM ledger_damage f
			LEFT JOIN ledger_object o ON o.vault = f.vault AND o.id = f.pack
			WHERE f.pack = ? OR o.state IN (?, ?) GROUP BY f.vault`, make([]byte, len(repo.ID{})), repo.ObjectLive, repo.ObjectCondemned)
		if err != nil {
			return fmt.Errorf("count damages: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var vault string
			var n int64
			if err := rows.Scan(&vault, &n); err != nil {
				return fmt.Errorf("count damages: %w", err)
			}
			counts[vault] = n
		}
		return rows.Err()
	})
	return counts, err
}
