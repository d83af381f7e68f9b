package vault

import "context"

// Authority knows what the roles allow that recovery points were made with.
type Authority interface {
	// DeleteAuthority reports why the role that made a recovery point may not have it deleted, in the words of the
	// StatusMessage; empty if it may. It is not called inside a transaction. The caller of an operation plays no part.
	DeleteAuthority(ctx context.Context, p Point) (refusal string, err error)
}
