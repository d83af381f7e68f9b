package vault

import (
	"slices"
	"testing"
)

// TestMayBecome holds the table of statuses to the one that AWS documents in parts.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRecoveryPoint.html.
func TestMayBecome(t *testing.T) {
	t.Parallel()
	after := map[Status][]Status{
		Creating:  {Completed, Partial, Available, gone},
		Completed: {Partial, Deleting, Expired},
		Partial:   {Deleting, Expired},
		Available: {Stopped, Deleting, Expired},
		Stopped:   {Deleting, Expired},
		Expired:   {Deleting, Expired},
		Deleting:  {Expired, gone},
	}
	all := []Status{Creating, Completed, Partial, Available, Stopped, Deleting, Expired, gone}
	for _, from := range all {
		for _, to := range all {
			if got, want := mayBecome(from, to), slices.Contains(after[from], to); got != want {
				t.Errorf("mayBecome(%q, %q) = %t, want %t", from, to, got, want)
			}
		}
	}
}
