package chunk

import (
	"errors"
	"fmt"
)

// ErrDamaged is wrapped by every error about bytes that are not what was written. Damage is permanent until it is
// repaired; reading again does not help, except when the store itself returned wrong bytes.
var ErrDamaged = errors.New("damaged")

// Damaged returns an error that wraps [ErrDamaged] and names the object, such as "pack 4f.. slot 3", and what is wrong
// with it.
func Damaged(object, format string, args ...any) error {
	return fmt.Errorf("%s is %w: %s", object, ErrDamaged, fmt.Sprintf(format, args...))
}
