// Package events keeps what happened to recovery points, jobs, backup plans, vaults and settings.
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
	"slices"
	"strings"
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

// insertBatch is how many events one statement inserts.
const insertBatch = 100

// EnqueueTx records that things happened now, in their order. The caller fills in Type, Account, Region, Resources and
// Detail.
func (s *Service) EnqueueTx(ctx context.Context, tx *meta.Tx, all ...Event) error {
	for part := range slices.Chunk(all, insertBatch) {
		args := make([]any, 0, 9*len(part))
		for _, e := range part {
			row, err := s.row(e)
			if err != nil {
				return err
			}
			args = append(args, row...)
		}
		_, err := tx.Exec(ctx, `INSERT INTO event (id, account, region, at, type, vault_event, vault_name, point_arn, document)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`+strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?)", len(part)-1), args...)
		if err != nil {
			return fmt.Errorf("record events, the first of them %q of %v: %w", part[0].Type, part[0].Resources, err)
		}
	}
	return nil
}

// row is an event as the table has it.
func (s *Service) row(e Event) ([]any, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	e.Version, e.ID, e.Source, e.Time = "0", id.String(), "aws.backup", s.Now().UTC().Truncate(time.Microsecond)
	if e.Resources == nil {
		e.Resources = []string{}
	}
	document, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	point := ""
	if d, ok := e.Detail.(pointed); ok {
		point = d.point()
	} else if len(e.Resources) > 0 {
		point = e.Resources[0]
	}
	vault, name := e.Detail.place()
	return []any{e.ID, e.Account, e.Region, meta.Micros(e.Time), e.Type, string(name), vault, point, string(document)}, nil
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
