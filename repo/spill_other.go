//go:build !unix

package repo

import "github.com/lockfast/lockfast/repo/index"

// openSegment opens the plain text of a segment.
func (*Vault) openSegment(name string, plain []byte) (*index.Segment, error) {
	return index.Open(name, plain)
}
