package vault

import (
	"slices"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// Status of a recovery point.
type Status = backupapi.RecoveryPointStatus

// The statuses, as clients see them.
const (
	Creating  = backupapi.RecoveryPointStatusCreating
	Completed = backupapi.RecoveryPointStatusCompleted
	Partial   = backupapi.RecoveryPointStatusPartial
	Available = backupapi.RecoveryPointStatusAvailable
	Stopped   = backupapi.RecoveryPointStatusStopped
	Deleting  = backupapi.RecoveryPointStatusDeleting
	Expired   = backupapi.RecoveryPointStatusExpired
)

// mayBecome reports whether a recovery point may go from one status to another. A row may be removed while CREATING,
// when its job failed, and while DELETING.
func mayBecome(from, to Status) bool {
	switch to {
	case Completed, Available:
		return from == Creating
	case Partial:
		return from == Creating || from == Completed
	case Stopped:
		return from == Available
	case Deleting:
		return slices.Contains([]Status{Completed, Partial, Available, Stopped, Expired}, from)
	case Expired:
		return slices.Contains([]Status{Completed, Partial, Available, Stopped, Expired, Deleting}, from)
	}
	return false
}

// restorable reports whether a recovery point's data can be read in this status.
func restorable(s Status) bool {
	return slices.Contains([]Status{Completed, Partial, Available, Stopped, Expired}, s)
}
