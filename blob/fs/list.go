package fs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/blob"
)

// List implements [blob.Store]. It reads one directory after the other, as the iteration reaches them.
//
// The order is that of whole names: the blobs in directory a come where "a/" sorts, after a blob "a-b" and before "a0".
// As no name is the directory of another, sorting siblings by their names, those of directories with a slash at the end,
// gives that order.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		dir, rest := ".", prefix
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir, rest = prefix[:i], prefix[i+1:]
			if blob.Name(dir).Check() != nil {
				dir = "" // no blob is there
			}
		}
		err := ctx.Err()
		if err == nil && dir != "" {
			err = s.walk(ctx, dir, rest, func(info blob.Info) bool { return yield(info, nil) })
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(blob.Info{}, err)
		}
	}
}

// errStop ends a walk because the caller wants no more.
var errStop = errors.New("stop")

// walk passes the blobs in dir and below whose names in dir begin with prefix.
func (s *Store) walk(ctx context.Context, dir, prefix string, pass func(blob.Info) bool) error {
	entries, err := s.sys.ReadDir(dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, explain(err))
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	for _, entry := range entries {
		name := blob.Name(path.Join(dir, entry.Name))
		if !strings.HasPrefix(entry.Name, prefix) || name.Check() != nil {
			continue
		}
		if err := s.visit(ctx, name, entry, pass); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) visit(ctx context.Context, name blob.Name, entry Entry, pass func(blob.Info) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch entry.Kind {
	case Directory:
		return s.walk(ctx, string(name), "", pass)
	case Regular:
		if !pass(blob.Info{Name: name, Size: entry.Size}) {
			return errStop
		}
		return nil
	default:
		return fmt.Errorf("list %s: %s is neither a file nor a directory", path.Dir(string(name)), name)
	}
}

func sortKey(e Entry) string {
	if e.Kind == Directory {
		return e.Name + "/"
	}
	return e.Name
}
