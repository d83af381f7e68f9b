package iam

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// conditions are the values of condition keys for one access of a caller, made when a policy asks for them. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html.
type conditions struct {
	caller  *caller.Caller
	request caller.Request
	access  *caller.Access
	tags    map[string]string // of the principal, without those of its session
	about   map[string]string // tags of the resource
	owner   string            // account of the resource
	service string            // that makes the request with a role; empty for all others
	now     time.Time
}

// Values implements [policy.Context].
func (c *conditions) Values(key string) ([]string, bool) {
	if values, ok := c.access.Keys[key]; ok {
		return values, true
	}
	vendor, name, _ := strings.Cut(key, ":")
	switch vendor {
	case "aws":
		return c.global(name)
	case "iam", "s3", "ec2", "backup":
		if tag, ok := strings.CutPrefix(name, "resourcetag/"); ok {
			return tagged(tag, c.about)
		}
	case "sts":
		if name == "sourceidentity" {
			return c.sourceIdentity()
		}
	}
	return nil, false
}

// global answers for the keys that every service has, without their prefix.
func (c *conditions) global(name string) ([]string, bool) {
	if kind, tag, ok := strings.Cut(name, "/"); ok {
		switch kind {
		case "principaltag":
			return c.principalTag(tag)
		case "resourcetag":
			return tagged(tag, c.about)
		}
		return nil, false
	}
	switch name {
	case "currenttime":
		return one(c.now.UTC().Format(time.RFC3339))
	case "epochtime":
		return one(strconv.FormatInt(c.now.Unix(), 10))
	case "requestedregion":
		return some(c.caller.Region)
	case "resourceaccount":
		return one(cmp.Or(c.owner, c.caller.Account))
	case "sourceip":
		return some(c.request.SourceIP)
	case "useragent":
		return some(c.request.UserAgent)
	case "referer":
		return some(c.request.Referer)
	case "securetransport":
		return one(strconv.FormatBool(c.request.Secure))
	case "viaawsservice":
		return one(strconv.FormatBool(c.service != ""))
	case "calledvia", "calledviafirst", "calledvialast":
		return some(c.service)
	}
	return c.principal(name)
}

// principal answers for the keys that say who asks.
func (c *conditions) principal(name string) ([]string, bool) {
	switch name {
	case "principalarn":
		return one(cmp.Or(c.caller.RoleARN, c.caller.ARN))
	case "principalaccount":
		return one(c.caller.Account)
	case "principaltype":
		switch c.caller.Kind {
		case caller.User:
			return one("User")
		case caller.RoleSession:
			return one("AssumedRole")
		}
	case "principalisawsservice":
		return one("false")
	case "userid":
		return some(c.caller.UserID)
	case "username":
		if c.caller.Kind == caller.User {
			return some(c.caller.Name)
		}
	case "tokenissuetime":
		if c.caller.Session != nil {
			return one(c.caller.Session.Issued.UTC().Format(time.RFC3339))
		}
	case "multifactorauthpresent": // absent for permanent access keys
		if c.caller.Session != nil {
			return one("false")
		}
	case "sourceidentity":
		return c.sourceIdentity()
	}
	return nil, false
}

// principalTag looks into the tags of the session first, which replace those of the role.
func (c *conditions) principalTag(key string) ([]string, bool) {
	if c.caller.Session != nil {
		if values, ok := tagged(key, c.caller.Session.Tags); ok {
			return values, true
		}
	}
	return tagged(key, c.tags)
}

func (c *conditions) sourceIdentity() ([]string, bool) {
	if c.caller.Session == nil {
		return nil, false
	}
	return some(c.caller.Session.SourceIdentity)
}

// tagged finds a tag by its key in lower case, since names of condition keys have no case. Tags that differ in nothing else
// are all meant.
func tagged(key string, tags map[string]string) ([]string, bool) {
	var values []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if strings.ToLower(k) == key {
			values = append(values, tags[k])
		}
	}
	return values, len(values) > 0
}

func one(value string) ([]string, bool) { return []string{value}, true }

// some is a key that is absent if it is empty.
func some(value string) ([]string, bool) { return []string{value}, value != "" }

// parsed takes an ARN apart; false for what is none.
func parsed(text string) (arn.ARN, bool) {
	a, err := arn.Parse(text)
	return a, err == nil
}

// resourceTags finds the tags of a resource, wherever they are kept.
func (s *Service) resourceTags(ctx context.Context, account, resource string) (map[string]string, error) {
	a, ok := parsed(resource)
	if ok && a.Service == "iam" {
		return s.tagsOfEntity(ctx, a)
	}
	if !ok || s.o.ResourceTags == nil { // "*", or nothing that exists
		return nil, nil
	}
	tags, err := s.o.ResourceTags.ResourceTags(ctx, account, resource)
	if err != nil {
		return nil, fmt.Errorf("read tags of %s: %w", resource, err)
	}
	return tags, nil
}

func (s *Service) tagsOfEntity(ctx context.Context, a arn.ARN) (tags map[string]string, err error) {
	kind, id := a.Split()
	name := id[strings.LastIndexByte(id, '/')+1:]
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		tags, err = entityTags(ctx, tx, a.Account, kind, name)
		return err
	})
	return tags, err
}
