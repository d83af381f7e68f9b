package directory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
)

// selection is the part of a recovery point that is restored: some items, all that is below them, and the directories
// above them.
type selection struct {
	point   *repo.Point
	keys    [][]byte // ascending, none below another
	missing [][]byte
	lost    []resource.Skip // items that cannot be looked up, when what is intact is wanted
	// damaged, if not nil, decides whether to go on behind a part of the tree that is damaged.
	damaged func(*repo.NodeError) bool
}

// newSelection resolves items, which are paths. Nil selects everything.
func newSelection(ctx context.Context, p *repo.Point, items [][]byte, intact bool) (*selection, error) {
	s := &selection{point: p}
	if items == nil {
		s.keys = [][]byte{{}}
		return s, nil
	}
	var damaged error // of the first that is lost
	for _, item := range items {
		key, err := Key(item)
		if err != nil {
			return nil, fmt.Errorf("item to restore: %w", err)
		}
		switch _, err := p.Lookup(ctx, key); {
		case errors.Is(err, repo.ErrNotFound):
			s.missing = append(s.missing, item)
		case intact && errors.Is(err, repo.ErrDamaged):
			s.lost = append(s.lost, resource.Skip{Path: item, Reason: damageReason(err)})
			damaged = cmp.Or(damaged, err)
		case err != nil:
			return nil, fmt.Errorf("look up %s: %w", Display(item), err)
		default:
			s.keys = append(s.keys, key)
		}
	}
	if len(s.keys) == 0 && len(s.lost) > 0 {
		return nil, fmt.Errorf("items to restore: %s: %w; repair the vault", Display(s.lost[0].Path), damaged)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("items to restore: none of %d is in the recovery point, the first is %s: %w",
			len(items), Display(bytes.Join(items[:min(1, len(items))], nil)), resource.ErrNotFound)
	}
	slices.SortFunc(s.keys, bytes.Compare)
	s.keys = outermost(s.keys)
	return s, nil
}

// outermost drops, from keys that ascend, those that are below another.
func outermost(keys [][]byte) [][]byte {
	kept := keys[:0]
	for _, key := range keys {
		if len(kept) == 0 || !below(key, kept[len(kept)-1]) {
			kept = append(kept, key)
		}
	}
	return kept
}

// visit calls f for every selected entry in ascending order of keys, each once. The entry is valid during the call.
func (s *selection) visit(ctx context.Context, f func(e repo.Entry) error) error {
	c := s.point.IntactCursor(ctx, s.damaged)
	var done []byte // the directories above the last key that were visited
	first := true
	for _, key := range s.keys {
		for _, dir := range above(key) {
			if !first && below(done, dir) {
				continue
			}
			e, err := s.point.Lookup(ctx, dir)
			if errors.Is(err, repo.ErrNotFound) {
				return fmt.Errorf("%w: %s is in no directory", resource.ErrMalformed, Display(Path(key)))
			}
			if lost, ok := errors.AsType[*repo.NodeError](err); ok && s.damaged != nil && s.damaged(lost) {
				continue // as in a restore of everything, where a lost directory loses what is in it, but the root does not
			}
			if err != nil {
				return err
			}
			if err := f(e); err != nil {
				return err
			}
		}
		done, first = key, false
		for ok := c.Seek(key); ok && below(c.Entry().Key, key); ok = c.Next() {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if err := f(c.Entry()); err != nil {
				return err
			}
		}
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

// above returns the keys of the directories that lead to key, the root first.
func above(key []byte) [][]byte {
	if len(key) == 0 {
		return nil
	}
	dirs := [][]byte{{}}
	for i, c := range key {
		if c == 0 {
			dirs = append(dirs, key[:i])
		}
	}
	return dirs
}
