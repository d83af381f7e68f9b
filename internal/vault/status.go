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

// gone is the status, so to speak, of a recovery point whose row is removed.
const gone Status = ""

// mayBecome reports whether a recovery point may go from one status to another. It is gone after CREATING, when its job
// failed, and after DELETING. STOPPED is never left for AVAILABLE again, and EXPIRED only to try the deletion again.
func mayBecome(from, to Status) bool {
	switch to {
	case gone:
		return from == Creating || from == Deleting
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
