// Package tag is the noun behind the tags of vaults and recovery points. Whoever
// owns a thing sets and drops its tags in the transactions that make and remove
// it; users change them by the operations.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_TagResource.html.
package tag

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Limits of tags.
const (
	MaxTags  = 50  // on one thing
	maxKey   = 128 // characters
	maxValue = 256 // characters
)

// Things knows what can carry tags.
type Things interface {
	// TaggableTx reports whether arn names something of the account that carries tags, which then stays until the
	// transaction ends.
	TaggableTx(ctx context.Context, tx *meta.Tx, account, arn string) (bool, error)
	// TagsChangeable refuses a change of the tags of something that is taggable, before the transaction.
	TagsChangeable(ctx context.Context, account, arn string) error
	// TagsChangedTx is told that the transaction changes the tags of something that is taggable.
	TagsChangedTx(ctx context.Context, tx *meta.Tx, account, arn string) error
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	db     *meta.DB
	things Things
	pager  *restjson.Pager
}

// New makes the service.
func New(db *meta.DB, things Things, pager *restjson.Pager) *Service {
	return &Service{db, things, pager}
}

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "tag", Files: migrations}
}

// Routes registers the operations.
func (s *Service) Routes(backup *restjson.Router) {
	restjson.Handle(backup, backupapi.TagResource, s.TagResource,
		func(_ caller.Caller, in *backupapi.TagResourceInput) []restjson.Access {
			return caller.Tagging("backup:TagResource", in.ResourceArn, in.Tags)
		})
	restjson.Handle(backup, backupapi.UntagResource, s.UntagResource,
		func(_ caller.Caller, in *backupapi.UntagResourceInput) []restjson.Access {
			asked := caller.On("backup:UntagResource", in.ResourceArn)
			asked[0].Keys = map[string][]string{"aws:tagkeys": in.TagKeyList}
			return asked
		})
	restjson.Handle(backup, backupapi.ListTags, s.ListTags,
		func(_ caller.Caller, in *backupapi.ListTagsInput) []restjson.Access {
			return caller.On("backup:ListTags", in.ResourceArn)
		})
}

// TagResource adds tags to a vault or a recovery point, and replaces the values of those it has.
func (s *Service) TagResource(ctx context.Context, in *backupapi.TagResourceInput) (*backupapi.TagResourceOutput, error) {
	if err := Check(in.Tags); err != nil {
		return nil, err
	}
	return nil, s.update(ctx, in.ResourceArn, func(ctx context.Context, tx *meta.Tx, account string) error {
		if err := put(ctx, tx, account, in.ResourceArn, in.Tags); err != nil {
			return err
		}
		var n int
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM tag WHERE account = ? AND arn = ?", account, in.ResourceArn).Scan(&n)
		if err == nil && n > MaxTags {
			err = backupapi.LimitExceededExceptionf("%s would have %d tags; at most %d are possible.", in.ResourceArn, n, MaxTags)
		}
		return err
	})
}

// UntagResource removes tags; those that the thing does not have make no difference.
func (s *Service) UntagResource(ctx context.Context, in *backupapi.UntagResourceInput) (*backupapi.UntagResourceOutput, error) {
	return nil, s.update(ctx, in.ResourceArn, func(ctx context.Context, tx *meta.Tx, account string) error {
		for _, key := range in.TagKeyList {
			if _, err := tx.Exec(ctx, "DELETE FROM tag WHERE account = ? AND arn = ? AND key = ?", account, in.ResourceArn, key); err != nil {
				return fmt.Errorf("remove tag: %w", err)
			}
		}
		return nil
	})
}

// update runs fn in a transaction in which the thing exists.
func (s *Service) update(ctx context.Context, name string, fn func(context.Context, *meta.Tx, string) error) error {
	if err := checkARN(name); err != nil {
		return err
	}
	account := caller.From(ctx).Account
	if err := s.things.TagsChangeable(ctx, account, name); err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if err := s.exists(ctx, tx, account, name); err != nil {
			return err
		}
		if err := fn(ctx, tx, account); err != nil {
			return err
		}
		return s.things.TagsChangedTx(ctx, tx, account, name)
	})
}

// exists is nil for a thing of the caller's region: policies that speak of the requested region mean that of the thing.
func (s *Service) exists(ctx context.Context, tx *meta.Tx, account, name string) error {
	ok, err := s.things.TaggableTx(ctx, tx, account, name)
	if a, bad := arn.Parse(name); bad != nil || a.Region != caller.From(ctx).Region {
		ok = false
	}
	if err == nil && !ok {
		err = backupapi.ResourceNotFoundExceptionf("%s does not exist.", name)
	}
	return err
}

// checkARN refuses what carries no tags here: those of a native snapshot belong to its own service.
func checkARN(name string) error {
	a, err := arn.Parse(name)
	if err != nil {
		return backupapi.InvalidParameterValueExceptionf("ResourceArn: %v.", err)
	}
	if a.Service != "backup" {
		return backupapi.InvalidParameterValueExceptionf("ResourceArn: %s is not a resource of AWS Backup that can be tagged.", name)
	}
	return nil
}

// ListTags lists the tags of a vault or a recovery point in the order of their keys.
func (s *Service) ListTags(ctx context.Context, in *backupapi.ListTagsInput) (*backupapi.ListTagsOutput, error) {
	if err := checkARN(in.ResourceArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListTags, in)
	if err != nil {
		return nil, err
	}
	after := ""
	if page.After != nil {
		after = page.After[0]
	}
	account := caller.From(ctx).Account
	var tags map[string]string
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if err := s.exists(ctx, tx, account, in.ResourceArn); err != nil {
			return err
		}
		tags, err = query(ctx, tx, "account = ? AND arn = ? AND key > ? ORDER BY key LIMIT ?", account, in.ResourceArn, after, page.Limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListTagsOutput{Tags: tags}
	if len(tags) > page.Limit {
		keys := slices.Sorted(maps.Keys(tags))
		delete(tags, keys[page.Limit])
		out.NextToken = page.Next(keys[page.Limit-1])
	}
	return out, nil
}

// SetTagsTx replaces the tags of what arn names.
func (s *Service) SetTagsTx(ctx context.Context, tx *meta.Tx, account, arn string, tags map[string]string) error {
	if err := Check(tags); err != nil {
		return err
	}
	if err := s.DropTagsTx(ctx, tx, account, arn); err != nil {
		return err
	}
	return put(ctx, tx, account, arn, tags)
}

// DropTagsTx removes all tags of what arn names.
func (s *Service) DropTagsTx(ctx context.Context, tx *meta.Tx, account, arn string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM tag WHERE account = ? AND arn = ?", account, arn); err != nil {
		return fmt.Errorf("remove tags of %s: %w", arn, err)
	}
	return nil
}

// TagsTx returns the tags of what arn names.
func (s *Service) TagsTx(ctx context.Context, tx *meta.Tx, account, arn string) (map[string]string, error) {
	return query(ctx, tx, "account = ? AND arn = ?", account, arn)
}

func put(ctx context.Context, tx *meta.Tx, account, arn string, tags map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		_, err := tx.Exec(ctx, `INSERT INTO tag (account, arn, key, value) VALUES (?, ?, ?, ?)
			ON CONFLICT (account, arn, key) DO UPDATE SET value = excluded.value`, account, arn, key, tags[key])
		if err != nil {
			return fmt.Errorf("tag %s: %w", arn, err)
		}
	}
	return nil
}

func query(ctx context.Context, tx *meta.Tx, where string, args ...any) (map[string]string, error) {
	rows, err := tx.Query(ctx, "SELECT key, value FROM tag WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tags := map[string]string{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		tags[key] = value
	}
	return tags, rows.Err()
}

// Check refuses tags that break a rule of AWS, with an API error that names the key.
func Check(tags map[string]string) error {
	if len(tags) > MaxTags {
		return backupapi.LimitExceededExceptionf("More than %d tags specified: %d.", MaxTags, len(tags))
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxKey:
			return backupapi.InvalidParameterValueExceptionf("Tag key %q: want 1 to %d characters.", key, maxKey)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return backupapi.InvalidParameterValueExceptionf("Tag key %q: keys that begin with aws: are reserved.", key)
		case utf8.RuneCountInString(value) > maxValue:
			return backupapi.InvalidParameterValueExceptionf("Tag %q: its value has more than %d characters.", key, maxValue)
		case strings.ContainsFunc(key, forbidden) || strings.ContainsFunc(value, forbidden):
			return backupapi.InvalidParameterValueExceptionf(
				"Tag %q: letters, digits, spaces and the characters + - = . _ : / @ are possible in keys and values.", key)
		}
	}
	return nil
}

func forbidden(r rune) bool {
	return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Zs, r) &&
		!strings.ContainsRune("+-=._:/@", r)
}
