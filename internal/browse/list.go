package browse

import (
	"context"
	"encoding/base64"
	"slices"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource/directory"
)

// ListItems lists what is in a directory of a recovery point, or all that is below it; of another item, the item.
func (s *Service) ListItems(ctx context.Context, in *lockfastapi.ListItemsInput) (*lockfastapi.ListItemsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, lockfastapi.ListItems, in)
	if err != nil {
		return nil, err
	}
	p, err := s.open(ctx, in.RecoveryPointArn)
	if err != nil {
		return nil, damaged("", err)
	}
	defer p.Close()
	e, info, err := find(ctx, p, deref(in.Path))
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.ListItemsOutput{Items: []lockfastapi.Item{}}
	if info.Type != directory.Directory {
		out.Items = append(out.Items, item(e.Key, e.Content.Size, info))
		return out, nil
	}
	l := listing{dir: slices.Clone(e.Key), deep: deref(in.Recursive), limit: page.Limit}
	from := firstBelow(l.dir)
	if page.After != nil {
		last, err := base64.RawStdEncoding.DecodeString(page.After[0])
		if err != nil {
			return nil, err
		}
		from = l.after(last)
	}
	more, err := l.run(p.Cursor(ctx), from)
	if err != nil {
		return nil, damaged(deref(in.Path), err)
	}
	out.Items = append(out.Items, l.items...)
	if more {
		out.NextToken = page.Next(base64.RawStdEncoding.EncodeToString(l.last))
	}
	return out, nil
}

// listing collects one page of a directory.
type listing struct {
	dir   []byte
	deep  bool // with everything below
	limit int
	items []lockfastapi.Item
	last  []byte // key of the last item
}

// run reads from the key on and reports whether there is more than fits.
func (l *listing) run(c *repo.Cursor, from []byte) (more bool, err error) {
	for ok := c.Seek(from); ok; {
		e := c.Entry()
		if !within(e.Key, l.dir) {
			break
		}
		if len(l.items) == l.limit {
			return true, nil
		}
		info, err := directory.DecodeMeta(e.Meta)
		if err != nil {
			return false, err
		}
		l.items = append(l.items, item(e.Key, e.Content.Size, info))
		l.last = append(l.last[:0], e.Key...)
		if info.Type == directory.Directory && !l.deep {
			ok = c.Seek(l.after(l.last))
		} else {
			ok = c.Next()
		}
	}
	return false, c.Err()
}

// after returns the smallest key that can follow the entry with the given key in the listing.
func (l *listing) after(key []byte) []byte {
	if l.deep {
		return append(slices.Clone(key), 0)
	}
	return append(slices.Clone(key), 1) // past all that is below key
}

// firstBelow returns the smallest key that an entry below dir can have.
func firstBelow(dir []byte) []byte {
	if len(dir) == 0 {
		return []byte{1}
	}
	return append(slices.Clone(dir), 0)
}

// within reports whether key lies below dir.
func within(key, dir []byte) bool {
	if len(dir) == 0 {
		return len(key) > 0
	}
	return len(key) > len(dir) && string(key[:len(dir)]) == string(dir) && key[len(dir)] == 0
}

func item(key []byte, size int64, info directory.Info) lockfastapi.Item {
	path := directory.Path(key)
	return lockfastapi.Item{
		Path: path, DisplayPath: directory.Display(path), Type: lockfastapi.ItemType(info.Type.String()),
		Mode: int(info.Mode), Uid: int64(info.UID), Gid: int64(info.GID), Size: size,
		ModifiedAt: &info.ModTime, LinkTarget: slices.Clone(info.LinkTarget),
	}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
