package iam

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// tagsTx reads the tags of a thing, by their keys.
func tagsTx(ctx context.Context, tx *meta.Tx, e *entity) ([]iamapi.Tag, error) {
	return selectTx(ctx, tx, func(rows *sql.Rows) (t iamapi.Tag, err error) { return t, rows.Scan(&t.Key, &t.Value) },
		"SELECT key, value FROM iam_tag WHERE account = ? AND kind = ? AND entity = ? ORDER BY key", e.account, e.kind.name, e.name)
}

// putTagsTx adds tags to a thing. A key replaces one that differs by case only.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html.
func putTagsTx(ctx context.Context, tx *meta.Tx, e *entity, tags []iamapi.Tag) error {
	for i, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return iamapi.InvalidInputExceptionf("Tag keys that begin with aws: are reserved: %s", t.Key)
		}
		if slices.ContainsFunc(tags[:i], func(o iamapi.Tag) bool { return strings.EqualFold(o.Key, t.Key) }) {
			return iamapi.InvalidInputExceptionf("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
	}
	keys := make([]string, len(tags))
	for i, t := range tags {
		keys[i] = t.Key
	}
	if err := dropTagsTx(ctx, tx, e, keys); err != nil {
		return err
	}
	for _, t := range tags {
		_, err := execTx(ctx, tx, "INSERT INTO iam_tag (account, kind, entity, key, value) VALUES (?, ?, ?, ?, ?)",
			e.account, e.kind.name, e.name, t.Key, t.Value)
		if err != nil {
			return err
		}
	}
	n, err := countTx(ctx, tx, "iam_tag WHERE account = ? AND kind = ? AND entity = ?", e.account, e.kind.name, e.name)
	if err == nil && n > maxTags {
		err = iamapi.LimitExceededExceptionf("The number of tags has reached the maximum limit of %d.", maxTags)
	}
	return err
}

// dropTagsTx removes tags from a thing, whatever the case of their keys; those that it does not have make no difference.
func dropTagsTx(ctx context.Context, tx *meta.Tx, e *entity, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	old, err := tagsTx(ctx, tx, e)
	if err != nil {
		return err
	}
	for _, t := range old {
		if !slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Key) }) {
			continue
		}
		err := runTx(ctx, tx, []any{e.account, e.kind.name, e.name, t.Key},
			"DELETE FROM iam_tag WHERE account = ? AND kind = ? AND entity = ? AND key = ?")
		if err != nil {
			return err
		}
	}
	return nil
}

// byKey orders tags by key. A marker has no room for the longest keys, which end with a checksum there.
func byKey(t iamapi.Tag) []string {
	const most = 120 // bytes
	if len(t.Key) <= most {
		return []string{t.Key}
	}
	n := most
	for !utf8.RuneStart(t.Key[n]) {
		n--
	}
	sum := sha256.Sum256([]byte(t.Key))
	return []string{t.Key[:n], hex.EncodeToString(sum[:8])}
}

// changeTags changes the tags of what find finds.
func (s *Service) changeTags(
	ctx context.Context, find finder, fn func(ctx context.Context, tx *meta.Tx, e *entity) error,
) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := find(ctx, tx, account)
		if err != nil {
			return err
		}
		return fn(ctx, tx, e)
	})
}

// finder finds a thing of an account.
type finder func(ctx context.Context, tx *meta.Tx, account string) (*entity, error)

func named(k *kind, name string) finder {
	return func(ctx context.Context, tx *meta.Tx, account string) (*entity, error) {
		return findTx(ctx, tx, k, account, name)
	}
}

func (s *Service) tag(ctx context.Context, find finder, tags []iamapi.Tag) error {
	return s.changeTags(ctx, find, func(ctx context.Context, tx *meta.Tx, e *entity) error { return putTagsTx(ctx, tx, e, tags) })
}

func (s *Service) untag(ctx context.Context, find finder, keys []string) error {
	return s.changeTags(ctx, find, func(ctx context.Context, tx *meta.Tx, e *entity) error { return dropTagsTx(ctx, tx, e, keys) })
}

func (s *Service) tags(ctx context.Context, find finder) (tags []iamapi.Tag, err error) {
	err = s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := find(ctx, tx, account)
		if err == nil {
			tags, err = tagsTx(ctx, tx, e)
		}
		return err
	})
	return tags, err
}

// TagUser adds tags to a user.
func (s *Service) TagUser(ctx context.Context, in *iamapi.TagUserInput) (*iamapi.TagUserOutput, error) {
	return nil, s.tag(ctx, named(userKind, in.UserName), in.Tags)
}

// TagRole adds tags to a role.
func (s *Service) TagRole(ctx context.Context, in *iamapi.TagRoleInput) (*iamapi.TagRoleOutput, error) {
	return nil, s.tag(ctx, named(roleKind, in.RoleName), in.Tags)
}

// TagPolicy adds tags to a managed policy of the account.
func (s *Service) TagPolicy(ctx context.Context, in *iamapi.TagPolicyInput) (*iamapi.TagPolicyOutput, error) {
	return nil, s.tag(ctx, ownPolicy(in.PolicyArn), in.Tags)
}

// UntagUser removes tags from a user.
func (s *Service) UntagUser(ctx context.Context, in *iamapi.UntagUserInput) (*iamapi.UntagUserOutput, error) {
	return nil, s.untag(ctx, named(userKind, in.UserName), in.TagKeys)
}

// UntagRole removes tags from a role.
func (s *Service) UntagRole(ctx context.Context, in *iamapi.UntagRoleInput) (*iamapi.UntagRoleOutput, error) {
	return nil, s.untag(ctx, named(roleKind, in.RoleName), in.TagKeys)
}

// UntagPolicy removes tags from a managed policy of the account.
func (s *Service) UntagPolicy(ctx context.Context, in *iamapi.UntagPolicyInput) (*iamapi.UntagPolicyOutput, error) {
	return nil, s.untag(ctx, ownPolicy(in.PolicyArn), in.TagKeys)
}

// ListUserTags lists the tags of a user by their keys.
func (s *Service) ListUserTags(ctx context.Context, in *iamapi.ListUserTagsInput) (*iamapi.ListUserTagsOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListUserTags, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListUserTagsOutput{}
	tags, err := s.tags(ctx, named(userKind, in.UserName))
	out.Tags, out.IsTruncated, out.Marker = window(page, tags, byKey)
	return out, err
}

// ListRoleTags lists the tags of a role by their keys.
func (s *Service) ListRoleTags(ctx context.Context, in *iamapi.ListRoleTagsInput) (*iamapi.ListRoleTagsOutput, error) {
	page, err := openPage(ctx, s, iamapi.ListRoleTags, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListRoleTagsOutput{}
	tags, err := s.tags(ctx, named(roleKind, in.RoleName))
	out.Tags, out.IsTruncated, out.Marker = window(page, tags, byKey)
	return out, err
}

// ListPolicyTags lists the tags of a managed policy by their keys. Those of AWS have none.
func (s *Service) ListPolicyTags(ctx context.Context, in *iamapi.ListPolicyTagsInput) (
	*iamapi.ListPolicyTagsOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListPolicyTags, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListPolicyTagsOutput{Tags: []iamapi.Tag{}}
	if _, ok := awsManaged(in.PolicyArn); ok {
		return out, nil
	}
	tags, err := s.tags(ctx, ownPolicy(in.PolicyArn))
	out.Tags, out.IsTruncated, out.Marker = window(page, tags, byKey)
	return out, err
}
