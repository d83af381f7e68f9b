package tag_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/tag"
	"github.com/lockfast/lockfast/internal/taggingapi"
)

const directoryARN = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-"

// directories are declared, each with its number as a tag; the number of the first is 0.
type directories int

func (n directories) DeclaredTx(_ context.Context, _ *meta.Tx, _, _, after string, limit int) (all []string, _ error) {
	for i := range int(n) {
		if name := fmt.Sprintf("%s%04d", directoryARN, i); name > after && len(all) < limit {
			all = append(all, name)
		}
	}
	return all, nil
}

func (n directories) DeclaredTagsTx(_ context.Context, _ *meta.Tx, _, _, arn string) (map[string]string, bool, error) {
	number, ok := strings.CutPrefix(arn, directoryARN)
	if !ok || number >= fmt.Sprintf("%04d", int(n)) {
		return nil, false, nil
	}
	return map[string]string{"n": number}, true, nil
}

func runTagging(t *testing.T, declared int, test func(t *testing.T, ctx context.Context, s tag.Tagging)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, tag.Migrations())
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		test(t, ctx, tag.Tagging{Service: tag.New(db, home{}, restjson.NewPager([]byte("key"))), Declared: directories(declared)})
	})
}

// found lists resources in pages, as the ends of their ARNs with their tags.
func found(t *testing.T, ctx context.Context, s tag.Tagging, in taggingapi.GetResourcesInput) (all []string) {
	t.Helper()
	for {
		out, err := s.GetResources(ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.ResourceTagMappingList {
			text := (*m.ResourceARN)[max(0, len(*m.ResourceARN)-4):]
			for _, tag := range m.Tags {
				text += " " + tag.Key + "=" + tag.Value
			}
			all = append(all, text)
		}
		if in.PaginationToken = out.PaginationToken; in.PaginationToken == nil {
			return all
		}
	}
}

func TestTagResources(t *testing.T) {
	runTagging(t, 2, func(t *testing.T, ctx context.Context, s tag.Tagging) {
		both := []string{directoryARN + "0000", vaultARN}
		out, err := s.TagResources(ctx, &taggingapi.TagResourcesInput{ResourceARNList: append(both, directoryARN+"0007", "no ARN"),
			Tags: map[string]string{"backup": "daily", "n": "own"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.FailedResourcesMap) != 2 || *out.FailedResourcesMap["no ARN"].StatusCode != 400 ||
			!strings.Contains(*out.FailedResourcesMap[directoryARN+"0007"].ErrorMessage, "does not exist") {
			t.Errorf("failures: %v", out.FailedResourcesMap)
		}
		want := []string{"home backup=daily n=own", "0000 backup=daily n=own", "0001 n=0001"}
		if diff := cmp.Diff(want, found(t, ctx, s, taggingapi.GetResourcesInput{ResourcesPerPage: new(1)})); diff != "" {
			t.Errorf("GetResources (-want +got):\n%s", diff)
		}
		gone, err := s.UntagResources(ctx, &taggingapi.UntagResourcesInput{ResourceARNList: both, TagKeys: []string{"backup"}})
		if err != nil || len(gone.FailedResourcesMap) != 0 {
			t.Errorf("UntagResources = %v, %v", gone, err)
		}
		gone, err = s.UntagResources(ctx, &taggingapi.UntagResourcesInput{ResourceARNList: both[:1], TagKeys: []string{"n"}})
		if err != nil || !strings.Contains(*gone.FailedResourcesMap[both[0]].ErrorMessage, "part of the declaration") {
			t.Errorf("UntagResources of a declared tag = %v, %v", gone, err)
		}
		want = []string{"home n=own", "0000 n=own", "0001 n=0001"}
		if diff := cmp.Diff(want, found(t, ctx, s, taggingapi.GetResourcesInput{})); diff != "" {
			t.Errorf("GetResources (-want +got):\n%s", diff)
		}
	})
}

func TestGetResources_Filters(t *testing.T) {
	runTagging(t, 250, func(t *testing.T, ctx context.Context, s tag.Tagging) {
		_, err := s.TagResources(ctx, &taggingapi.TagResourcesInput{ResourceARNList: []string{vaultARN, directoryARN + "0003"},
			Tags: map[string]string{"a": "1"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := found(t, ctx, s, taggingapi.GetResourcesInput{ResourcesPerPage: new(7)}); len(got) != 251 {
			t.Errorf("%d resources, want 251", len(got))
		}
		for _, c := range []struct {
			name string
			in   taggingapi.GetResourcesInput
			want []string
		}{
			{"key", taggingapi.GetResourcesInput{TagFilters: []taggingapi.TagFilter{{Key: new("a")}}}, []string{"home a=1", "0003 a=1 n=0003"}},
			{"values", taggingapi.GetResourcesInput{TagFilters: []taggingapi.TagFilter{{Key: new("n"), Values: []string{"0249", "0003"}}}},
				[]string{"0003 a=1 n=0003", "0249 n=0249"}},
			{"both", taggingapi.GetResourcesInput{TagFilters: []taggingapi.TagFilter{{Key: new("n")}, {Key: new("a"), Values: []string{"1"}}}},
				[]string{"0003 a=1 n=0003"}},
			{"service", taggingapi.GetResourcesInput{ResourceTypeFilters: []string{"backup"}}, []string{"home a=1"}},
			{"type", taggingapi.GetResourcesInput{ResourceTypeFilters: []string{"backup:recovery-point"}}, nil},
			{"ARNs", taggingapi.GetResourcesInput{ResourceARNList: []string{directoryARN + "0003", vaultARN, "arn:aws:s3:::b"}},
				[]string{"home a=1", "0003 a=1 n=0003"}},
		} {
			if diff := cmp.Diff(c.want, found(t, ctx, s, c.in)); diff != "" {
				t.Errorf("%s: GetResources (-want +got):\n%s", c.name, diff)
			}
		}
		for _, in := range []taggingapi.GetResourcesInput{
			{ResourcesPerPage: new(0)}, {ResourcesPerPage: new(101)}, {TagsPerPage: new(100)}, {IncludeComplianceDetails: new(true)},
			{ResourceARNList: []string{vaultARN}, ResourceTypeFilters: []string{"backup"}},
		} {
			if _, err := s.GetResources(ctx, &in); !errors.As(err, new(*taggingapi.InvalidParameterException)) {
				t.Errorf("GetResources(%+v) = %v, want InvalidParameterException", in, err)
			}
		}
	})
}
