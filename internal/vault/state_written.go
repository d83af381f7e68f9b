package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// WrittenStates returns the generations of states of a vault that are durable in the store, by the store's name of the
// recovery point; "" stands for the vault itself. It is empty if there is no such vault. Recovery points that are DELETING
// are left out: their states go before their rows.
func (s *Service) WrittenStates(ctx context.Context, vaultUUID string) (written map[repo.PointID]uint64, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		written = map[repo.PointID]uint64{}
		v, err := byUUID(ctx, tx, vaultUUID, "")
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if v.State.Written > 0 {
			written[""] = uint64(v.State.Written)
		}
		rows, err := tx.Query(ctx, `SELECT CASE WHEN p.is_parent = TRUE THEN p.state_id ELSE p.store_id END, p.state_written
			FROM recovery_point p WHERE p.vault_uuid = ? AND p.state_written > 0 AND p.status <> 'DELETING' AND `+writable, vaultUUID)
		if err != nil {
			return fmt.Errorf("list written states: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var generation int64
			if err := rows.Scan(&id, &generation); err != nil {
				return fmt.Errorf("list written states: %w", err)
			}
			written[repo.PointID(id)] = uint64(generation)
		}
		return rows.Err()
	})
	return written, err
}

// RewriteState marks a state as unwritten that the store has lost, so that it is written with a generation above one. The
// ARN is empty for the vault itself, whose id is "". found is false if there is nothing of that id, or it is DELETING.
func (s *Service) RewriteState(ctx context.Context, vaultUUID string, id repo.PointID, above uint64) (arn string, found bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		arn, found = "", false
		v, err := s.LockTx(ctx, tx, vaultUUID)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if id == "" {
			found = true
			err := exec1(ctx, tx, "UPDATE vault SET state_version = ? WHERE uuid = ?", max(v.State.Version, int64(above))+1, vaultUUID)
			return errors.Join(err, s.enqueueStates(ctx, tx, vaultUUID))
		}
		points, err := selectPoints(ctx, tx, " WHERE p.vault_uuid = ? AND (p.store_id = ? OR p.state_id = ?) AND p.status <> 'DELETING' AND "+
			writable, vaultUUID, string(id), string(id))
		if err != nil || len(points) == 0 {
			return err
		}
		arn, found = points[0].ARN, true
		err = exec1(ctx, tx, "UPDATE recovery_point SET state_version = ? WHERE vault_uuid = ? AND arn = ?",
			max(points[0].State.Version, int64(above))+1, vaultUUID, arn)
		return errors.Join(err, s.enqueueStates(ctx, tx, vaultUUID))
	})
	return arn, found, err
}
