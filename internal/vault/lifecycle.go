package vault

import (
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
)

const (
	maxDays = 36500
	// minColdDays is how long a recovery point stays in cold storage at least.
	minColdDays = 90
	never       = -1 // in a lifecycle: no such transition
)

// CheckLifecycle reports, as an API error, what is wrong with a lifecycle that a client sent; nil is no lifecycle.
func (s *Service) CheckLifecycle(l *backupapi.Lifecycle) error {
	_, err := retention(l)
	return err
}

// retention is the number of days after which a recovery point with this lifecycle is deleted, 0 for never.
func retention(l *backupapi.Lifecycle) (int64, error) {
	if l == nil {
		return 0, nil
	}
	remove, err := days("DeleteAfterDays", l.DeleteAfterDays)
	if err != nil {
		return 0, err
	}
	cold, err := days("MoveToColdStorageAfterDays", l.MoveToColdStorageAfterDays)
	switch {
	case err != nil:
		return 0, err
	case remove > 0 && cold > 0 && remove < cold+minColdDays:
		return 0, errColdTooShort()
	case l.DeleteAfterEvent != nil:
		return 0, backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. DeleteAfterEvent cannot be set by a request")
	}
	return remove, nil
}

func errColdTooShort() error {
	return backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. DeleteAfterDays cannot be less than " +
		"90 days apart from MoveToColdStorageAfterDays")
}

// days checks a number of days and returns it, 0 for never.
func days(member string, n *int64) (int64, error) {
	switch {
	case n == nil || *n == never:
		return 0, nil
	case *n < 1 || *n > maxDays:
		return 0, backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. %s must be between 1 and %d, or -1: %d",
			member, maxDays, *n)
	}
	return *n, nil
}

// deleteAt is when a recovery point created at a time is due for deletion, or for cold storage; the zero time for never.
func deleteAt(created time.Time, days int64) time.Time {
	if days == 0 {
		return time.Time{}
	}
	return created.Add(time.Duration(days) * 24 * time.Hour)
}

func lifecycle(p Point) *backupapi.Lifecycle {
	if p.DeleteAfterDays == 0 && p.ColdAfterDays == 0 {
		return nil
	}
	return &backupapi.Lifecycle{DeleteAfterDays: positive(p.DeleteAfterDays), MoveToColdStorageAfterDays: positive(p.ColdAfterDays)}
}

func positive(days int64) *int64 {
	if days == 0 {
		return nil
	}
	return &days
}

func calculated(p Point) *backupapi.CalculatedLifecycle {
	if p.DeleteAt.IsZero() && p.ColdAt.IsZero() {
		return nil
	}
	return &backupapi.CalculatedLifecycle{DeleteAt: optional(p.DeleteAt), MoveToColdStorageAt: optional(p.ColdAt)}
}
