package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// Damage is what cannot be restored of a recovery point, as far as verifications have found out.
type Damage struct {
	Paths []string `json:"paths,omitempty"` // for people, in order, at most [MaxDamagedPaths]
	More  int64    `json:"more,omitempty"`  // further ones
	// Unknown is set when a part of the tree cannot be read: what is not in Paths may be lost too.
	Unknown bool `json:"unknown,omitempty"`
}

// MaxDamagedPaths is how many paths the record of a damaged recovery point names.
const MaxDamagedPaths = 100

// damageBatch is how many recovery points are marked in one transaction.
const damageBatch = 100

// maxDamagePaths is how many paths a message names.
const maxDamagePaths = 3

// Damaged is damage of a recovery point and when it was found first; the zero value is none.
type Damaged struct {
	DamagedAt time.Time
	Damage    Damage
}

// message says what is damaged, for people; empty without damage.
func (d Damaged) message() string {
	if d.DamagedAt.IsZero() {
		return ""
	}
	text := "Damaged since " + d.DamagedAt.UTC().Format("2006-01-02T15:04:05Z")
	shown := slices.Clone(d.Damage.Paths[:min(len(d.Damage.Paths), maxDamagePaths)])
	if more := int64(len(d.Damage.Paths)-len(shown)) + d.Damage.More; more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	if d.Damage.Unknown {
		shown = append(shown, "what a part of its tree names that cannot be read")
	}
	return text + ". It misses: " + strings.Join(shown, ", ")
}

// described is damage as Lockfast's own operations answer it; nil without damage.
func (d Damaged) described() *lockfastapi.RecoveryPointDamage {
	if d.DamagedAt.IsZero() {
		return nil
	}
	return &lockfastapi.RecoveryPointDamage{FoundDate: d.DamagedAt, Paths: append([]string{}, d.Damage.Paths...),
		MorePaths: d.Damage.More, Unknown: d.Damage.Unknown, Message: d.message()}
}

// statusMessage is the message of a recovery point's status, which no status of AWS's can say of damage.
func (p Point) statusMessage() *string {
	return some(strings.TrimPrefix(strings.TrimSuffix(p.StatusMessage+"; "+p.message(), "; "), "; "))
}

// MarkDamaged notes which recovery points of a vault are damaged, and has that written to the store with their states. With all
// set, it drops the marks of those that are not given: nothing else is damaged. A recovery point that is marked already keeps its time.
func (s *Service) MarkDamaged(ctx context.Context, vaultUUID string, damaged map[repo.PointID]Damage, all bool) error {
	changed, err := s.changedDamage(ctx, vaultUUID, damaged, all)
	for batch := range slices.Chunk(changed, damageBatch) {
		if err == nil {
			err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return s.markTx(ctx, tx, vaultUUID, batch) })
		}
	}
	return err
}

// changedDamage returns the recovery points of a vault with their damage, where it is not what is recorded.
func (s *Service) changedDamage(ctx context.Context, vaultUUID string, damaged map[repo.PointID]Damage, all bool) (changed []Point, err error) {
	if len(damaged) == 0 && !all {
		return nil, nil
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		changed = nil
		where := " WHERE p.vault_uuid = ? AND p.store_id <> ''"
		if len(damaged) == 0 {
			where += " AND p.damaged_at <> 0"
		}
		points, err := selectPoints(ctx, tx, where, vaultUUID)
		for _, p := range points {
			was := p.Damaged
			d, ok := damaged[repo.PointID(p.StoreID)]
			switch {
			case ok && was.DamagedAt.IsZero():
				p.Damaged = Damaged{s.now(), d}
			case ok:
				p.Damage = d
			case all:
				p.Damaged = Damaged{}
			}
			if !was.DamagedAt.Equal(p.DamagedAt) || was.message() != p.message() || !slices.Equal(was.Damage.Paths, p.Damage.Paths) {
				changed = append(changed, p)
			}
		}
		return err
	})
	return changed, err
}

func (s *Service) markTx(ctx context.Context, tx *meta.Tx, vaultUUID string, points []Point) error {
	if _, err := s.LockTx(ctx, tx, vaultUUID); errors.Is(err, ErrNotFound) {
		return nil // it was deleted meanwhile, with what is in it
	} else if err != nil {
		return err
	}
	for _, p := range points {
		text, err := damageColumn(p.Damaged)
		if err != nil {
			return err
		}
		// By its name in the store, too: another one may have taken the place of what was looked at.
		res, err := tx.Exec(ctx, "UPDATE recovery_point SET damaged_at = ?, damage = ? WHERE vault_uuid = ? AND arn = ? AND store_id = ?",
			micros(p.DamagedAt), text, vaultUUID, p.ARN, p.StoreID)
		if err != nil {
			return fmt.Errorf("record damage of %s: %w", p.ARN, err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			continue
		}
		if err := s.touch(ctx, tx, vaultUUID, p.ARN); err != nil {
			return err
		}
	}
	return nil
}

// damageColumn is what the column damage holds.
func damageColumn(d Damaged) (string, error) {
	if d.DamagedAt.IsZero() {
		return "", nil
	}
	text, err := json.Marshal(d.Damage)
	return string(text), err
}

// damagedIn returns the first recovery points of a vault that are marked as damaged, and how many are.
func (s *Service) damagedIn(ctx context.Context, vaultUUID string, limit int) (points []Point, count int64, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		const marked = " WHERE p.vault_uuid = ? AND p.damaged_at <> 0"
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM recovery_point p"+marked, vaultUUID).Scan(&count); err != nil {
			return fmt.Errorf("count damaged recovery points: %w", err)
		}
		points, err = selectPoints(ctx, tx, marked+" ORDER BY p.arn LIMIT ?", vaultUUID, limit)
		return err
	})
	return points, count, err
}

// ARNs returns the ARNs of the recovery points of a vault that have data, by their names in the store.
func (s *Service) ARNs(ctx context.Context, vaultUUID string) (map[repo.PointID]string, error) {
	arns := map[repo.PointID]string{}
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		clear(arns)
		rows, err := tx.Query(ctx, "SELECT store_id, arn FROM recovery_point WHERE vault_uuid = ? AND store_id <> ''", vaultUUID)
		if err != nil {
			return fmt.Errorf("list recovery points: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, arn string
			if err := rows.Scan(&id, &arn); err != nil {
				return fmt.Errorf("list recovery points: %w", err)
			}
			arns[repo.PointID(id)] = arn
		}
		return rows.Err()
	})
	return arns, err
}

// damage scans what is stored as JSON, empty for none.
type damage struct{ to *Damage }

func (d damage) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("damage holds %T", v)
	}
	if *d.to = (Damage{}); text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), d.to)
}
