package setting

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Clock is a clock of policy that starts at a time of the user's choice, runs at the speed of the real one, and is moved forward
// by [Clock.AdvanceClock]. It is for people who test their own automation. Where it stands is part of the data: it never goes
// back, whatever a server is started with. Its methods may be called concurrently.
type Clock struct {
	db    *meta.DB
	ahead atomic.Int64 // nanoseconds before real time
	// Moved is called after the clock was moved, and does what is due then.
	Moved func(ctx context.Context) error
}

// OpenClock opens the clock of a database, and makes one if start is given and the database is new. It returns nil if there is
// none. Data that was made by real time cannot be given a clock, and data with a clock needs start, unless start is adopted.
func OpenClock(ctx context.Context, db *meta.DB, start *time.Time, isNew, adopt bool) (*Clock, error) {
	c := &Clock{db: db}
	var ahead int64
	err := db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		err := tx.QueryRow(ctx, "SELECT ahead FROM setting_clock WHERE id = 1").Scan(&ahead)
		switch {
		case errors.Is(err, sql.ErrNoRows) && start == nil:
			c = nil
			return nil
		case errors.Is(err, sql.ErrNoRows) && !isNew:
			return errors.New("clock: this data was made by real time, and cannot be given another clock; use a new data directory")
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("read the clock: %w", err)
		case err == nil && start == nil && !adopt:
			return errors.New("clock: this data was made with a clock of its own; start the server with --clock, " +
				"whose time counts only if it is later than where the clock stands")
		}
		if start != nil && (err != nil || time.Until(*start).Microseconds() > ahead) {
			ahead = time.Until(*start).Microseconds()
		}
		return writeClock(ctx, tx, ahead)
	})
	if err != nil || c == nil {
		return nil, err
	}
	c.ahead.Store(ahead * int64(time.Microsecond))
	return c, nil
}

func writeClock(ctx context.Context, tx *meta.Tx, ahead int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO setting_clock (id, ahead) VALUES (1, ?)
		ON CONFLICT (id) DO UPDATE SET ahead = excluded.ahead`, ahead)
	if err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// Now is the policy time.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// maxAdvance is how far one call moves the clock: a year.
const maxAdvance = 366 * 24 * time.Hour

// AdvanceClock moves the clock forward, and answers when everything that is due then has begun: jobs of rules are made, what is past
// its retention is being deleted.
func (c *Clock) AdvanceClock(ctx context.Context, in *lockfastapi.AdvanceClockInput) (*lockfastapi.AdvanceClockOutput, error) {
	if c == nil {
		return nil, lockfastapi.InvalidRequestExceptionf("This server runs by real time. A server on a new data directory can be started with --clock.")
	}
	by := time.Duration(in.Seconds) * time.Second
	if in.Seconds < 1 || in.Seconds > int64(maxAdvance/time.Second) {
		return nil, lockfastapi.InvalidParameterValueExceptionf("Seconds must be between 1 and %d: %d", int64(maxAdvance/time.Second), in.Seconds)
	}
	err := c.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var ahead int64
		if err := tx.QueryRow(ctx, "SELECT ahead FROM setting_clock WHERE id = 1"+tx.ForUpdate()).Scan(&ahead); err != nil {
			return fmt.Errorf("read the clock: %w", err)
		}
		ahead += by.Microseconds()
		if err := writeClock(ctx, tx, ahead); err != nil {
			return err
		}
		c.ahead.Store(ahead * int64(time.Microsecond))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &lockfastapi.AdvanceClockOutput{Now: c.Now()}, c.Moved(ctx)
}

// DescribeClock answers the policy time.
func (c *Clock) DescribeClock(context.Context, *lockfastapi.DescribeClockInput) (*lockfastapi.DescribeClockOutput, error) {
	if c == nil {
		return &lockfastapi.DescribeClockOutput{Now: time.Now()}, nil
	}
	return &lockfastapi.DescribeClockOutput{Now: c.Now(), Virtual: true}, nil
}

// Routes registers the operations. A nil clock says that there is none.
func (c *Clock) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.AdvanceClock, c.AdvanceClock,
		func(caller.Caller, *lockfastapi.AdvanceClockInput) []restjson.Access {
			return caller.OnAll("lockfast:AdvanceClock")
		})
	restjson.Handle(own, lockfastapi.DescribeClock, c.DescribeClock,
		func(caller.Caller, *lockfastapi.DescribeClockInput) []restjson.Access {
			return caller.OnAll("lockfast:DescribeClock")
		})
}
