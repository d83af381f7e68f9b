package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"github.com/lockfast/lockfast/blob"
)

// explain adds to an error of the system the sentinel of package blob that it amounts to.
func explain(err error) error {
	for _, c := range []struct{ is, as error }{
		{syscall.ENOSPC, blob.ErrNoSpace},
		{syscall.EDQUOT, blob.ErrNoSpace},
		{syscall.EROFS, blob.ErrPermission},
		{syscall.ESTALE, blob.ErrUnavailable},
		{syscall.ENOTCONN, blob.ErrUnavailable},
		{syscall.EHOSTDOWN, blob.ErrUnavailable},
		{syscall.ETIMEDOUT, blob.ErrUnavailable},
		{iofs.ErrPermission, blob.ErrPermission},
	} {
		if errors.Is(err, c.is) {
			return fmt.Errorf("%w: %w", c.as, err)
		}
	}
	return err
}

// absent reports that there is nothing at a path, be it that the last element is missing or a directory on the way is, or
// is a file.
func absent(err error) bool {
	return errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// passing reports an error of a directory's sync that says nothing of what was written before: no space, or a
// directory that is closed to us.
func passing(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, iofs.ErrPermission)
}
