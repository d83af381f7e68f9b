package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
)

// ErrUnavailable is wrapped by the error of [DB.Update] and [DB.View] when the
// database could not be reached, or not any more. Nothing is then kept, unless
// the connection broke while the transaction was being committed. Trying again
// later may succeed.
var ErrUnavailable = errors.New("database is not available")

// explain adds [ErrUnavailable] to an error that amounts to it.
func (db *DB) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || !db.lost(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (db *DB) lost(err error) bool {
	if _, ok := errors.AsType[*beginError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok && !errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for _, broken := range []error{ErrNoConnection, sql.ErrConnDone, driver.ErrBadConn, io.ErrUnexpectedEOF} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return db.dialect.lost(err)
}
