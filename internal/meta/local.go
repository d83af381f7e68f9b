package meta

import (
	"context"
	"database/sql"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

// localDriver is River's driver for a database that no other process works on.
// It wakes workers in the process itself: River's own listener for SQLite
// writes a row for each announcement and polls for it 20 times a second. Nor
// does it write who leads and which queues there are, which nobody else reads;
// each row would cost a sync.
type localDriver struct {
	riverdriver.Driver[*sql.Tx]
	db *DB
}

func (d localDriver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return &listener{wake: d.db.wake, news: make(chan *riverdriver.Notification, 16)}
}

func (localDriver) SupportsListener() bool     { return true }
func (localDriver) SupportsListenNotify() bool { return false }

func (d localDriver) GetExecutor() riverdriver.Executor {
	return localExecutor{d.Driver.GetExecutor(), d.db}
}

type localExecutor struct {
	riverdriver.Executor
	db *DB
}

// Begin implements [riverdriver.Executor].
func (e localExecutor) Begin(ctx context.Context) (riverdriver.ExecutorTx, error) {
	tx, err := e.Executor.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return localTx{tx}, nil
}

// JobGetAvailable implements [riverdriver.Executor]. It asks for jobs where that
// keeps no writer waiting, and takes some only if there are any. What is
// committed after the question is announced after it.
func (e localExecutor) JobGetAvailable(ctx context.Context, p *riverdriver.JobGetAvailableParams) (*riverdriver.JobGetAvailableResult, error) {
	var some bool
	row := e.db.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM river_job WHERE state = 'available' AND queue = ?)", p.Queue)
	if err := row.Scan(&some); err != nil || !some {
		return &riverdriver.JobGetAvailableResult{}, err
	}
	return e.Executor.JobGetAvailable(ctx, p)
}

// QueueCreateOrSetUpdatedAt implements [riverdriver.Executor].
func (localExecutor) QueueCreateOrSetUpdatedAt(_ context.Context, p *riverdriver.QueueCreateOrSetUpdatedAtParams) (*rivertype.Queue, error) {
	return &rivertype.Queue{Name: p.Name, Metadata: []byte("{}")}, nil
}

// QueueGet implements [riverdriver.Executor]. No queue is ever paused.
func (localExecutor) QueueGet(_ context.Context, p *riverdriver.QueueGetParams) (*rivertype.Queue, error) {
	return &rivertype.Queue{Name: p.Name, Metadata: []byte("{}")}, nil
}

// LeaderAttemptReelect implements [riverdriver.Executor].
func (localExecutor) LeaderAttemptReelect(_ context.Context, p *riverdriver.LeaderReelectParams) (*riverdriver.Leader, error) {
	return &riverdriver.Leader{LeaderID: p.LeaderID, ElectedAt: p.ElectedAt, ExpiresAt: time.Now().Add(p.TTL)}, nil
}

// LeaderResign implements [riverdriver.Executor].
func (localExecutor) LeaderResign(context.Context, *riverdriver.LeaderResignParams) (bool, error) {
	return true, nil
}

// localTx is a transaction of a localExecutor, in which River begins to lead.
type localTx struct{ riverdriver.ExecutorTx }

// LeaderDeleteExpired implements [riverdriver.Executor].
func (localTx) LeaderDeleteExpired(context.Context, *riverdriver.LeaderDeleteExpiredParams) (int, error) {
	return 0, nil
}

// LeaderAttemptElect implements [riverdriver.Executor].
func (localTx) LeaderAttemptElect(_ context.Context, p *riverdriver.LeaderElectParams) (*riverdriver.Leader, error) {
	now := time.Now()
	return &riverdriver.Leader{LeaderID: p.LeaderID, ElectedAt: now, ExpiresAt: now.Add(p.TTL)}, nil
}
