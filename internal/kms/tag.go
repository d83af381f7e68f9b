package kms

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// maxTags is how many tags a key can have.
const maxTags = 50

// putTags adds tags to a key, whose row is locked or new, and checks what it has then.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html.
func putTags(ctx context.Context, tx *meta.Tx, k key, tags []kmsapi.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.TagKey), "aws:") {
			return kmsapi.TagExceptionf("Tag keys that begin with aws: belong to AWS: %s", t.TagKey)
		}
		if seen[t.TagKey] {
			return kmsapi.TagExceptionf("Tag key %s is there twice", t.TagKey)
		}
		seen[t.TagKey] = true
		_, err := tx.Exec(ctx, `INSERT INTO kms_tag (key_id, name, value) VALUES (?, ?, ?)
			ON CONFLICT (key_id, name) DO UPDATE SET value = excluded.value`, k.id, t.TagKey, t.TagValue)
		if err != nil {
			return fmt.Errorf("tag KMS key %s: %w", k.arn(), err)
		}
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM kms_tag WHERE key_id = ?", k.id).Scan(&n); err != nil {
		return fmt.Errorf("tag KMS key %s: %w", k.arn(), err)
	}
	if n > maxTags {
		return kmsapi.LimitExceededExceptionf("A key can have %d tags at most.", maxTags)
	}
	return nil
}

func tagsOf(ctx context.Context, tx *meta.Tx, k key) (map[string]string, error) {
	rows, err := tx.Query(ctx, "SELECT name, value FROM kms_tag WHERE key_id = ?", k.id)
	if err != nil {
		return nil, fmt.Errorf("read tags of KMS key %s: %w", k.arn(), err)
	}
	defer rows.Close()
	tags := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("read tags of KMS key %s: %w", k.arn(), err)
		}
		tags[name] = value
	}
	return tags, rows.Err()
}

// TagsTx returns the tags of the key that an ARN names; none if there is no such key.
func (s *Service) TagsTx(ctx context.Context, tx *meta.Tx, name string) (map[string]string, error) {
	k, ok, err := byARN(ctx, tx, name, "")
	if err != nil || !ok {
		return nil, err
	}
	return tagsOf(ctx, tx, k)
}

// TagResource adds tags to a key, or replaces their values.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html.
func (s *Service) TagResource(ctx context.Context, in *kmsapi.TagResourceInput) (*kmsapi.TagResourceOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error { return putTags(ctx, tx, k, in.Tags) })
	return nil, err
}

// UntagResource removes tags from a key. Those it does not have are ignored.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_UntagResource.html.
func (s *Service) UntagResource(ctx context.Context, in *kmsapi.UntagResourceInput) (*kmsapi.UntagResourceOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		for _, name := range in.TagKeys {
			if _, err := tx.Exec(ctx, "DELETE FROM kms_tag WHERE key_id = ? AND name = ?", k.id, name); err != nil {
				return fmt.Errorf("untag KMS key %s: %w", k.arn(), err)
			}
		}
		return nil
	})
	return nil, err
}

// ListResourceTags lists the tags of a key by name.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html.
func (s *Service) ListResourceTags(ctx context.Context, in *kmsapi.ListResourceTagsInput) (*kmsapi.ListResourceTagsOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	page, err := openPage(ctx, s, kmsapi.ListResourceTags, in)
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		k, err := find(ctx, tx, in.KeyId, "")
		if err == nil {
			tags, err = tagsOf(ctx, tx, k)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(tags)), func(n string) bool { return page.After != nil && n <= after(page) })
	out := &kmsapi.ListResourceTagsOutput{Tags: []kmsapi.Tag{}}
	names, out.Truncated, out.NextMarker = cut(page, names, func(n string) string { return n })
	for _, n := range names {
		out.Tags = append(out.Tags, kmsapi.Tag{TagKey: n, TagValue: tags[n]})
	}
	return out, nil
}
