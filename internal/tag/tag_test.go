package tag_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/tag"
)

const vaultARN = "arn:aws:backup:us-east-1:000000000000:backup-vault:home"

// home is the only thing with tags.
type home struct{}

func (home) TagsChangeable(context.Context, string, string) error { return nil }

func (home) TagsChangedTx(context.Context, *meta.Tx, string, string) error { return nil }

func (home) TaggableTx(_ context.Context, _ *meta.Tx, _, arn string) (bool, error) {
	return arn == vaultARN, nil
}

func run(t *testing.T, test func(t *testing.T, ctx context.Context, s *tag.Service, db *meta.DB)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, tag.Migrations())
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		test(t, ctx, tag.New(db, home{}, restjson.NewPager([]byte("key"))), db)
	})
}

func TestTags_AreAddedReplacedAndRemoved(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *tag.Service, _ *meta.DB) {
		for _, tags := range []map[string]string{{"a": "1", "größe": "4 µm"}, {"a": "2", "b": ""}} {
			if _, err := s.TagResource(ctx, &backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: tags}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.UntagResource(ctx, &backupapi.UntagResourceInput{ResourceArn: vaultARN, TagKeyList: []string{"b", "absent"}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.ListTags(ctx, &backupapi.ListTagsInput{ResourceArn: vaultARN})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"a": "2", "größe": "4 µm"}, out.Tags); diff != "" {
			t.Errorf("ListTags (-want +got):\n%s", diff)
		}
	})
}

func TestTagResource_Refuses(t *testing.T) {
	many := map[string]string{}
	for i := range tag.MaxTags + 1 {
		many[fmt.Sprint("key", i)] = ""
	}
	run(t, func(t *testing.T, ctx context.Context, s *tag.Service, _ *meta.DB) {
		for _, c := range []struct {
			name, arn string
			tags      map[string]string
			text      string
		}{
			{"empty key", vaultARN, map[string]string{"": "x"}, "1 to 128 characters"},
			{"long key", vaultARN, map[string]string{strings.Repeat("k", 129): "x"}, "1 to 128 characters"},
			{"long value", vaultARN, map[string]string{"k": strings.Repeat("v", 257)}, "more than 256"},
			{"reserved key", vaultARN, map[string]string{"AWS:x": ""}, "reserved"},
			{"control character", vaultARN, map[string]string{"k": "a\nb"}, "letters, digits"},
			{"native recovery point", "arn:aws:ec2:us-east-1::snapshot/snap-1", map[string]string{"k": "v"}, "not a resource of AWS Backup"},
			{"no ARN", "foo", map[string]string{"k": "v"}, "foo"},
		} {
			_, err := s.TagResource(ctx, &backupapi.TagResourceInput{ResourceArn: c.arn, Tags: c.tags})
			invalid, ok := errors.AsType[*backupapi.InvalidParameterValueException](err)
			if !ok || !strings.Contains(invalid.Message, c.text) {
				t.Errorf("%s: TagResource = %v, want InvalidParameterValueException with %q", c.name, err, c.text)
			}
		}
		_, err := s.TagResource(ctx, &backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: many})
		if limit, ok := errors.AsType[*backupapi.LimitExceededException](err); !ok || limit.Message != "More than 50 tags specified: 51." {
			t.Errorf("51 tags = %v, want LimitExceededException", err)
		}
		_, err = s.TagResource(ctx, &backupapi.TagResourceInput{ResourceArn: vaultARN + "2", Tags: map[string]string{"k": "v"}})
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); !ok {
			t.Errorf("TagResource of a missing vault = %v, want ResourceNotFoundException", err)
		}
	})
}

func TestTagResource_KeepsTheLimitOverSeveralCalls(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *tag.Service, _ *meta.DB) {
		for i := range tag.MaxTags {
			in := &backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: map[string]string{fmt.Sprintf("key%02d", i): "v"}}
			if _, err := s.TagResource(ctx, in); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.TagResource(ctx, &backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: map[string]string{"one more": "v"}})
		if _, ok := errors.AsType[*backupapi.LimitExceededException](err); !ok {
			t.Errorf("51st tag = %v, want LimitExceededException", err)
		}

		var pages int
		got := map[string]string{}
		in := &backupapi.ListTagsInput{ResourceArn: vaultARN, MaxResults: new(20)}
		for ; ; pages++ {
			out, err := s.ListTags(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range out.Tags {
				got[k] = v
			}
			if in.NextToken = out.NextToken; out.NextToken == nil {
				break
			}
		}
		if len(got) != tag.MaxTags || pages != 2 {
			t.Errorf("ListTags gave %d tags on %d pages, want 50 on 3", len(got), pages+1)
		}
	})
}

func TestSetTagsTx_ReplacesInTheCallersTransaction(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *tag.Service, db *meta.DB) {
		rollback := errors.New("roll back")
		set := func(tags map[string]string, end error) error {
			return db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
				if err := s.SetTagsTx(ctx, tx, "000000000000", vaultARN, tags); err != nil {
					return err
				}
				return end
			})
		}
		if err := set(map[string]string{"old": "1"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := set(map[string]string{"lost": "1"}, rollback); !errors.Is(err, rollback) {
			t.Fatal(err)
		}
		if err := set(map[string]string{"new": "1"}, nil); err != nil {
			t.Fatal(err)
		}
		err := db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			got, err := s.TagsTx(ctx, tx, "000000000000", vaultARN)
			if diff := cmp.Diff(map[string]string{"new": "1"}, got); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// See https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html.
func TestRoutes_TellPoliciesOfTheTags(t *testing.T) {
	t.Parallel()
	r := restjson.New(restjson.Options{Service: backupapi.Service})
	tag.New(nil, home{}, nil).Routes(r)
	for operation, c := range map[string]struct {
		in   any
		want map[string][]string
	}{
		"TagResource": {&backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: map[string]string{"Team": "a", "team": "b", "x": ""}},
			map[string][]string{"aws:tagkeys": {"Team", "team", "x"}, "aws:requesttag/team": {"a", "b"}, "aws:requesttag/x": {""}}},
		"UntagResource": {&backupapi.UntagResourceInput{ResourceArn: vaultARN, TagKeyList: []string{"Team"}},
			map[string][]string{"aws:tagkeys": {"Team"}}},
		"ListTags": {&backupapi.ListTagsInput{ResourceArn: vaultARN}, nil},
	} {
		got, err := r.Find(operation).Access(t.Context(), c.in)
		want := []caller.Access{{Action: "backup:" + operation, Resource: vaultARN, Keys: c.want}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got), %v:\n%s", operation, err, diff)
		}
	}
}

// A policy that allows requests in one region only must not be got round by the ARN.
func TestTags_AreThoseOfTheRequestedRegion(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *tag.Service, _ *meta.DB) {
		elsewhere := caller.With(ctx, caller.Caller{Account: "000000000000", Region: "eu-west-1"})
		_, err := s.TagResource(elsewhere, &backupapi.TagResourceInput{ResourceArn: vaultARN, Tags: map[string]string{"a": "b"}})
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); !ok {
			t.Errorf("TagResource = %v, want ResourceNotFoundException", err)
		}
		_, err = s.ListTags(elsewhere, &backupapi.ListTagsInput{ResourceArn: vaultARN})
		if _, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); !ok {
			t.Errorf("ListTags = %v, want ResourceNotFoundException", err)
		}
	})
}
