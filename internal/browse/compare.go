package browse

import (
	"bytes"
	"context"
	"encoding/base64"
	"slices"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource/directory"
)

// CompareRecoveryPoints lists the items in which two recovery points differ, in the order of their paths. The first
// recovery point is the earlier state. What a restore would not bring back, such as inode numbers, is not compared.
func (s *Service) CompareRecoveryPoints(ctx context.Context, in *lockfastapi.CompareRecoveryPointsInput) (*lockfastapi.CompareRecoveryPointsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, lockfastapi.CompareRecoveryPoints, in)
	if err != nil {
		return nil, err
	}
	var after []byte
	if page.After != nil {
		if after, err = base64.RawStdEncoding.DecodeString(page.After[0]); err != nil {
			return nil, err
		}
	}
	older, err := s.open(ctx, in.RecoveryPointArn)
	if err != nil {
		return nil, damaged("", err)
	}
	defer older.Close()
	newer, err := s.open(ctx, in.OtherRecoveryPointArn)
	if err != nil {
		return nil, damaged("", err)
	}
	defer newer.Close()
	out := &lockfastapi.CompareRecoveryPointsOutput{Changes: []lockfastapi.Change{}}
	var last []byte
	for c, err := range newer.Diff(ctx, older) {
		if err != nil {
			return nil, damaged("", err)
		}
		key := either(c).Key
		if page.After != nil && bytes.Compare(key, after) <= 0 {
			continue
		}
		kind, err := classify(c)
		if err != nil {
			return nil, err
		}
		if kind == "" {
			continue
		}
		if len(out.Changes) == page.Limit {
			out.NextToken = page.Next(base64.RawStdEncoding.EncodeToString(last))
			break
		}
		path := directory.Path(key)
		change := lockfastapi.Change{Path: path, DisplayPath: directory.Display(path), Change: kind}
		if c.Before != nil {
			change.SizeBefore = new(c.Before.Content.Size)
		}
		if c.After != nil {
			change.SizeAfter = new(c.After.Content.Size)
		}
		out.Changes = append(out.Changes, change)
		last = append(last[:0], key...)
	}
	return out, nil
}

func either(c repo.Change) *repo.Entry {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// classify says how an item differs; the empty kind is a difference that nobody would see.
func classify(c repo.Change) (lockfastapi.ChangeType, error) {
	switch {
	case c.Before == nil:
		return lockfastapi.ChangeTypeAdded, nil
	case c.After == nil:
		return lockfastapi.ChangeTypeRemoved, nil
	case !sameContent(c.Before.Content, c.After.Content):
		return lockfastapi.ChangeTypeChanged, nil
	}
	before, err := directory.DecodeMeta(c.Before.Meta)
	if err != nil {
		return "", err
	}
	after, err := directory.DecodeMeta(c.After.Meta)
	if err != nil {
		return "", err
	}
	switch {
	case before.Type != after.Type || !bytes.Equal(before.LinkTarget, after.LinkTarget):
		return lockfastapi.ChangeTypeChanged, nil
	case !sameMetadata(before, after):
		return lockfastapi.ChangeTypeMetadata, nil
	}
	return "", nil
}

func sameContent(a, b repo.Content) bool {
	return a.Size == b.Size && a.List == b.List && bytes.Equal(a.Inline, b.Inline) && slices.Equal(a.Extents, b.Extents)
}

func sameMetadata(a, b directory.Info) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.ModTime.Equal(b.ModTime) &&
		a.Major == b.Major && a.Minor == b.Minor && a.Flags == b.Flags &&
		slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y directory.Xattr) bool {
			return bytes.Equal(x.Name, y.Name) && bytes.Equal(x.Value, y.Value) && x.Ref == y.Ref
		})
}
