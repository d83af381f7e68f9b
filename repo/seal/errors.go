package seal

import (
	"errors"
	"fmt"
)

// ErrWrongKey is returned when an object was sealed with another key than the one at hand, or its header was changed.
var ErrWrongKey = errors.New("sealed with another key, or its header is damaged")

// UnsupportedError says that an object was written with something this version does not know.
type UnsupportedError struct {
	Object  string // name of the object
	Feature string // such as "suite"
	Value   int
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s uses %s %d, which this version does not know", e.Object, e.Feature, e.Value)
}

// EpochError says that the key of an epoch is not at hand.
type EpochError struct {
	Object string
	Epoch  uint32
	Lost   bool // the vault had such a key; otherwise it never had, and what names its epoch was changed
}

func (e *EpochError) Error() string {
	return fmt.Sprintf("%s needs the vault key of epoch %d, which is not there", e.Object, e.Epoch)
}

func wrongKey(object string) error { return fmt.Errorf("%s: %w", object, ErrWrongKey) }
