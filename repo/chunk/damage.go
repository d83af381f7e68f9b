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
	return &Damage{Object: object, What: fmt.Sprintf(format, args...)}
}

// Damage is the error that [Damaged] makes.
type Damage struct {
	Object string
	What   string // is wrong with it
}

func (d *Damage) Error() string { return d.Object + " is damaged: " + d.What }

// Unwrap returns [ErrDamaged].
func (d *Damage) Unwrap() error { return ErrDamaged }
