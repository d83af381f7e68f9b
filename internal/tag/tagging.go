package tag

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/json11"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/taggingapi"
)

// Declared knows the declared resources, which may have tags by their declaration.
type Declared interface {
	// DeclaredTx returns the ARNs of declared resources in their order, from the first after one on.
	DeclaredTx(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) ([]string, error)
	// DeclaredTagsTx returns the tags that a resource is declared with; false if it is not declared.
	DeclaredTagsTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (map[string]string, bool, error)
}

// Tagging is the part of the Resource Groups Tagging API that is about what Lockfast knows: declared resources, vaults,
// recovery points and backup plans. Tags that it gives to a declared resource come on top of those of the declaration.
//
// See https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/overview.html.
type Tagging struct {
	*Service
	Declared Declared
}

// Routes registers the operations. As on AWS, who tags through this API needs the right to tag in the service of each
// resource, too.
func (s Tagging) Routes(r *json11.Router) {
	json11.Handle(r, taggingapi.TagResources, s.TagResources, func(_ caller.Caller, in *taggingapi.TagResourcesInput) []json11.Access {
		asked := caller.Tagging("tag:TagResources", "*", in.Tags)
		for _, name := range in.ResourceARNList {
			asked = append(asked, caller.Tagging(service(name)+":TagResource", name, in.Tags)...)
		}
		return asked
	})
	json11.Handle(r, taggingapi.UntagResources, s.UntagResources, func(_ caller.Caller, in *taggingapi.UntagResourcesInput) []json11.Access {
		asked := caller.OnAll("tag:UntagResources")
		for _, name := range in.ResourceARNList {
			on := caller.On(service(name)+":UntagResource", name)
			on[0].Keys = map[string][]string{"aws:tagkeys": in.TagKeys}
			asked = append(asked, on...)
		}
		return asked
	})
	json11.Handle(r, taggingapi.GetResources, s.GetResources, func(caller.Caller, *taggingapi.GetResourcesInput) []json11.Access {
		return caller.OnAll("tag:GetResources")
	})
}

// service is the service that a resource belongs to, as the names of actions begin.
func service(name string) string {
	a, err := arn.Parse(name)
	if err != nil {
		return "tag" // it is refused later
	}
	return a.Service
}

// TagResources gives tags to several resources. What fails for one of them is in the answer.
func (s Tagging) TagResources(ctx context.Context, in *taggingapi.TagResourcesInput) (*taggingapi.TagResourcesOutput, error) {
	if err := Check(in.Tags); err != nil {
		return nil, taggingapi.InvalidParameterExceptionf("%s", text(err))
	}
	failed, err := s.each(ctx, in.ResourceARNList, func(ctx context.Context, tx *meta.Tx, account, name string, declared map[string]string) error {
		if err := put(ctx, tx, account, name, in.Tags); err != nil {
			return err
		}
		all, err := s.TagsTx(ctx, tx, account, name)
		if err != nil {
			return err
		}
		merged := maps.Clone(declared)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, all)
		return Check(merged)
	})
	return &taggingapi.TagResourcesOutput{FailedResourcesMap: failed}, err
}

// UntagResources removes tags from several resources. A tag of a declaration cannot be removed by it.
func (s Tagging) UntagResources(ctx context.Context, in *taggingapi.UntagResourcesInput) (*taggingapi.UntagResourcesOutput, error) {
	failed, err := s.each(ctx, in.ResourceARNList, func(ctx context.Context, tx *meta.Tx, account, name string, declared map[string]string) error {
		for _, key := range in.TagKeys {
			if _, ok := declared[key]; ok {
				return taggingapi.InvalidParameterExceptionf("The tag %q is part of the declaration of %s: remove it there.", key, name)
			}
			if _, err := tx.Exec(ctx, "DELETE FROM tag WHERE account = ? AND arn = ? AND key = ?", account, name, key); err != nil {
				return fmt.Errorf("remove tag: %w", err)
			}
		}
		return nil
	})
	return &taggingapi.UntagResourcesOutput{FailedResourcesMap: failed}, err
}

// each runs fn for each resource, in a transaction of its own, with the tags of its declaration. Errors of the API are
// returned by resource.
func (s Tagging) each(ctx context.Context, names []string, fn func(context.Context, *meta.Tx, string, string, map[string]string) error) (
	failed map[string]taggingapi.FailureInfo, err error,
) {
	c := caller.From(ctx)
	failed = map[string]taggingapi.FailureInfo{}
	for _, name := range names {
		err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			declared, ok, err := s.Declared.DeclaredTagsTx(ctx, tx, c.Account, c.Region, name)
			if err == nil && !ok {
				err = s.exists(ctx, tx, c.Account, name)
			}
			if err != nil {
				return err
			}
			return fn(ctx, tx, c.Account, name, declared)
		})
		if api, ok := errors.AsType[interface {
			error
			ErrorName() string
		}](err); ok {
			failed[name] = taggingapi.FailureInfo{StatusCode: new(http.StatusBadRequest), ErrorMessage: new(text(api)),
				ErrorCode: new(taggingapi.ErrorCodeInvalidParameterException)}
		} else if err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// text is the message of an API error without its name.
func text(err error) string {
	_, message, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return err.Error()
	}
	return message
}

const (
	defaultTagged = 50
	maxTagged     = 100
)

// GetResources lists what has tags, in the order of the ARNs.
func (s Tagging) GetResources(ctx context.Context, in *taggingapi.GetResourcesInput) (*taggingapi.GetResourcesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, taggingapi.GetResources, in)
	if err != nil {
		return nil, err
	}
	limit, after := defaultTagged, ""
	if in.ResourcesPerPage != nil {
		limit = *in.ResourcesPerPage
	}
	if page.After != nil {
		after = page.After[0]
	}
	switch {
	case limit < 1 || limit > maxTagged:
		return nil, taggingapi.InvalidParameterExceptionf("ResourcesPerPage must be between 1 and %d: %d", maxTagged, limit)
	case in.TagsPerPage != nil:
		return nil, taggingapi.InvalidParameterExceptionf("TagsPerPage is not supported; use ResourcesPerPage")
	case in.IncludeComplianceDetails != nil && *in.IncludeComplianceDetails, in.ExcludeCompliantResources != nil && *in.ExcludeCompliantResources:
		return nil, taggingapi.InvalidParameterExceptionf("IncludeComplianceDetails: there are no tag policies")
	case in.ResourceARNList != nil && (in.TagFilters != nil || in.ResourceTypeFilters != nil || in.ResourcesPerPage != nil || page.After != nil):
		return nil, taggingapi.InvalidParameterExceptionf("ResourceARNList cannot be combined with filters or pages")
	}
	out := &taggingapi.GetResourcesOutput{ResourceTagMappingList: []taggingapi.ResourceTagMapping{}}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		names := s.following(ctx, tx, after)
		if in.ResourceARNList != nil {
			names = listed(in.ResourceARNList)
		}
		return s.collect(ctx, tx, in, names, out, limit, page)
	})
	return out, err
}

// collect adds the resources to the answer that the filters let through, until the page is full.
func (s Tagging) collect(ctx context.Context, tx *meta.Tx, in *taggingapi.GetResourcesInput, names func(func(string, error) bool),
	out *taggingapi.GetResourcesOutput, limit int, page *restjson.Page,
) error {
	c := caller.From(ctx)
	for name, err := range names {
		if err != nil {
			return err
		}
		a, bad := arn.Parse(name)
		if bad != nil || a.Region != c.Region || !ofType(a, in.ResourceTypeFilters) {
			continue
		}
		tags, err := s.mergedTx(ctx, tx, c.Account, c.Region, name)
		if err != nil {
			return err
		}
		if len(tags) == 0 || !hasTags(tags, in.TagFilters) {
			continue
		}
		if len(out.ResourceTagMappingList) == limit && in.ResourceARNList == nil {
			out.PaginationToken = page.Next(*out.ResourceTagMappingList[limit-1].ResourceARN)
			return nil
		}
		m := taggingapi.ResourceTagMapping{ResourceARN: &name}
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			m.Tags = append(m.Tags, taggingapi.Tag{Key: key, Value: tags[key]})
		}
		out.ResourceTagMappingList = append(out.ResourceTagMappingList, m)
	}
	return nil
}

func listed(names []string) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// following yields the ARNs after one of everything that is declared or has tags.
func (s Tagging) following(ctx context.Context, tx *meta.Tx, after string) func(func(string, error) bool) {
	c := caller.From(ctx)
	return func(yield func(string, error) bool) {
		for {
			declared, err := s.Declared.DeclaredTx(ctx, tx, c.Account, c.Region, after, maxTagged)
			if err != nil {
				yield("", err)
				return
			}
			tagged, err := tagged(ctx, tx, c.Account, after)
			if err != nil {
				yield("", err)
				return
			}
			names := slices.Compact(slices.Sorted(slices.Values(append(declared, tagged...))))
			names = names[:min(maxTagged, len(names))] // beyond, one of the two lists may have gaps
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if len(names) < maxTagged {
				return
			}
			after = names[len(names)-1]
		}
	}
}

// tagged returns the next ARNs with tags of their own.
func tagged(ctx context.Context, tx *meta.Tx, account, after string) (names []string, err error) {
	rows, err := tx.Query(ctx, "SELECT DISTINCT arn FROM tag WHERE account = ? AND arn > ? ORDER BY arn LIMIT ?", account, after, maxTagged)
	if err != nil {
		return nil, fmt.Errorf("list tagged resources: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// mergedTx returns all tags of a resource.
func (s Tagging) mergedTx(ctx context.Context, tx *meta.Tx, account, region, name string) (map[string]string, error) {
	all, _, err := s.Declared.DeclaredTagsTx(ctx, tx, account, region, name)
	if err != nil {
		return nil, err
	}
	own, err := s.TagsTx(ctx, tx, account, name)
	if all == nil {
		return own, err
	}
	maps.Copy(all, own)
	return all, err
}

// ofType reports whether a resource is of one of some types, such as "backup" or "elasticfilesystem:file-system".
func ofType(a arn.ARN, types []string) bool {
	kind, _ := a.Split()
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		service, want, narrow := strings.Cut(t, ":")
		return service == a.Service && (!narrow || want == kind)
	})
}

// hasTags reports whether tags fulfil all filters; of the values of one filter any is enough.
func hasTags(tags map[string]string, filters []taggingapi.TagFilter) bool {
	for _, f := range filters {
		if f.Key == nil {
			continue
		}
		value, ok := tags[*f.Key]
		if !ok || len(f.Values) > 0 && !slices.Contains(f.Values, value) {
			return false
		}
	}
	return true
}
