// Package events keeps what happened to recovery points and copy jobs.
//
// An event is written in the transaction that changes what it tells of ([Service.EnqueueTx]), so that there is one for
// every change that was committed and none for one that was not. The table is an outbox: what delivers events elsewhere
// reads it, and what asks later what has happened lists it ([Service.ListEvents]) until the event is too old
// ([Service.Prune]).
package events

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// DefaultKeep is how long events are kept.
const DefaultKeep = 90 * 24 * time.Hour

// pruneBatch is how many old events one transaction removes.
const pruneBatch = 500

// Options says what a [Service] works with.
type Options struct {
	DB    *meta.DB
	Pager *restjson.Pager
	Now   func() time.Time // policy clock; nil is time.Now
	Keep  time.Duration    // how long events are kept; 0 is [DefaultKeep]
}

// Service keeps the events. Its methods may be called concurrently.
type Service struct {
	Options
}

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	return &Service{o}
}

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "events", Files: migrations}
}

// EnqueueTx records that something happened now. The caller fills in Type, Account, Region, Resources and Detail.
func (s *Service) EnqueueTx(ctx context.Context, tx *meta.Tx, e Event) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	e.Version, e.ID, e.Source, e.Time = "0", id.String(), "aws.backup", s.Now().UTC().Truncate(time.Microsecond)
	document, err := json.Marshal(e)
	if err != nil {
		return err
	}
	point := ""
	if len(e.Resources) > 0 {
		point = e.Resources[0]
	}
	vault, name := e.Detail.place()
	_, err = tx.Exec(ctx, `INSERT INTO event (id, account, region, at, type, vault_event, vault_name, point_arn, document)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID, e.Account, e.Region, meta.Micros(e.Time), e.Type,
		string(name), vault, point, string(document))
	if err != nil {
		return fmt.Errorf("record event of %s: %w", point, err)
	}
	return nil
}

// Prune forgets events that are too old.
func (s *Service) Prune(ctx context.Context) error {
	for n := int64(pruneBatch); n == pruneBatch; {
		err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			res, err := tx.Exec(ctx, "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < ? ORDER BY at LIMIT ?)",
				meta.Micros(s.Now().Add(-s.Keep)), pruneBatch)
			if err != nil {
				return fmt.Errorf("prune events: %w", err)
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
