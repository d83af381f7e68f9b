package repo

import (
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
)

// ID names a content by a keyed hash of its bytes; the zero ID is a hole, or none.
type ID = chunk.ID

// PointID names a recovery point: 32 lower-case hexadecimal digits. Its manifest is the object r/<PointID>.
type PointID string

// Check reports what is not a recovery point's id.
func (id PointID) Check() error {
	if _, err := chunk.ParseID(string(id)); err != nil || string(id) != id.lower() {
		return fmt.Errorf("recovery point %q: %w", string(id), errBadPointID)
	}
	return nil
}

func (id PointID) lower() string {
	b := []byte(id)
	for i, c := range b {
		if 'A' <= c && c <= 'F' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

var errBadPointID = errors.New("want 32 lower-case hex digits")

