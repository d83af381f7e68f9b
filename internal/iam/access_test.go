package iam_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// gate is an authoriser that remembers what it was asked, and refuses.
type gate struct {
	user  caller.Caller
	asked []query.Access
}

func (g *gate) Lookup(context.Context, string, string) (string, caller.Caller, error) {
	return "secret", g.user, nil
}

func (g *gate) Authorize(_ context.Context, _ caller.Caller, asked []query.Access) error {
	g.asked = asked
	return &wire.Denied{Message: "no"}
}

func (g *gate) serve(a api, form string) (status int, body string) {
	r := query.New(query.Options{Service: iamapi.Service, Credentials: g, Authorizer: g, Log: slog.New(slog.DiscardHandler)})
	a.Routes(r)
	return send(r, form)
}

func send(r *query.Router, form string) (status int, body string) {
	req := httptest.NewRequest("POST", "/", strings.NewReader(form))
	sigv4.Sign(req, []byte(form), sigv4.Keys{AccessKeyID: "AKIA", Secret: "secret"}, "us-east-1", "iam", time.Now())
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	text, _ := io.ReadAll(w.Body)
	return w.Code, string(text)
}

func TestRoutes_AskForTheStoredARN(t *testing.T) {
	runAPI(t, func(a api) {
		limit := a.policy("limit")
		call(a, a.CreateRole, iamapi.CreateRoleInput{RoleName: "R", Path: new("/x/"), AssumeRolePolicyDocument: trustOfBackup, PermissionsBoundary: &limit})
		ann := call(a, a.CreateUser, iamapi.CreateUserInput{UserName: "Ann", Path: new("/dev/")}).User
		key := call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")}).AccessKey.AccessKeyId
		g := &gate{user: caller.Caller{Account: account, ARN: ann.Arn, UserID: ann.UserId, Kind: caller.User, Name: "Ann"}}
		on := func(action, resource string, keys ...string) query.Access {
			access := query.Access{Action: "iam:" + action, Resource: resource, Keys: map[string][]string{}}
			for i := 0; i < len(keys); i += 2 {
				access.Keys[keys[i]] = append(access.Keys[keys[i]], keys[i+1])
			}
			return access
		}
		const bound, policyARN = "iam:permissionsboundary", "iam:policyarn"
		role, esc := arnPrefix+"role/x/R", url.QueryEscape
		for form, want := range map[string][]query.Access{
			"GetRole&RoleName=R": {on("GetRole", role, bound, limit)},
			"GetRole&RoleName=Q": {on("GetRole", arnPrefix+"role/Q")},
			"ListRoles":          {on("ListRoles", "*")},
			"GetUser":            {on("GetUser", arnPrefix+"user/dev/Ann")},
			"AttachRolePolicy&RoleName=R&PolicyArn=" + esc(forBackup): {on("AttachRolePolicy", role, bound, limit, policyARN, forBackup)},
			"PutRolePermissionsBoundary&RoleName=R&PermissionsBoundary=" + esc(forBackup): {
				on("PutRolePermissionsBoundary", role, bound, forBackup)},
			"CreateUser&UserName=Bob&Path=/b/&Tags.member.1.Key=Team&Tags.member.1.Value=x&PermissionsBoundary=" + esc(limit): {
				on("CreateUser", arnPrefix+"user/b/Bob", bound, limit, "aws:requesttag/team", "x", "aws:tagkeys", "Team")},
			"UntagUser&UserName=Ann&TagKeys.member.1=a&TagKeys.member.2=b": {
				on("UntagUser", arnPrefix+"user/dev/Ann", "aws:tagkeys", "a", "aws:tagkeys", "b")},
			"UpdateUser&UserName=Ann&NewUserName=Eve":    {on("UpdateUser", arnPrefix+"user/dev/Ann"), on("UpdateUser", arnPrefix+"user/dev/Eve")},
			"UpdateUser&UserName=Ann&NewPath=/":          {on("UpdateUser", arnPrefix+"user/dev/Ann"), on("UpdateUser", arnPrefix+"user/Ann")},
			"CreatePolicy&PolicyName=P&PolicyDocument=x": {on("CreatePolicy", arnPrefix+"policy/P")},
			"DeletePolicy&PolicyArn=" + esc(limit):       {on("DeletePolicy", limit, policyARN, limit)},
			"GetAccessKeyLastUsed&AccessKeyId=" + key:    {{Action: "iam:GetAccessKeyLastUsed", Resource: arnPrefix + "user/dev/Ann"}},
			"CreateServiceLinkedRole&AWSServiceName=backup.amazonaws.com": {on("CreateServiceLinkedRole",
				arnPrefix+"role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup", "iam:awsservicename", "backup.amazonaws.com")},
			"AddRoleToInstanceProfile&InstanceProfileName=ip&RoleName=R": {
				{Action: "iam:AddRoleToInstanceProfile", Resource: arnPrefix + "instance-profile/ip"},
				on("PassRole", role, "iam:passedtoservice", "ec2.amazonaws.com")},
			"GetServiceLinkedRoleDeletionStatus&DeletionTaskId=task/aws-service-role/s/R/1": {
				{Action: "iam:GetServiceLinkedRoleDeletionStatus", Resource: arnPrefix + "role/aws-service-role/s/R"}},
		} {
			status, body := g.serve(a, "Action="+form)
			if diff := cmp.Diff(want, g.asked); diff != "" || status != 403 {
				t.Errorf("%s: %d %s; asked (-want +got):\n%s", form, status, body, diff)
			}
		}
	})
}

func TestRoutes_EveryOperation(t *testing.T) {
	runAPI(t, func(a api) {
		r := query.New(query.Options{Service: iamapi.Service})
		a.Routes(r)
		got := r.Operations()
		for _, op := range iamapi.Operations() {
			if !slices.Contains(got, op.Name) && !strings.HasPrefix(op.Name, "Simulate") {
				t.Errorf("%s has no behaviour", op.Name)
			}
		}
	})
}

// TestChanges_RaiseTheEpoch holds what other nodes rest on: whatever changes raises the epoch, and what fails does not.
func TestChanges_RaiseTheEpoch(t *testing.T) {
	runAPI(t, func(a api) {
		last := a.epoch()
		a.user("Ann")
		if now := a.epoch(); now <= last {
			t.Errorf("epoch = %d after a change, %d before", now, last)
		}
		last = a.epoch()
		refused(a, "EntityAlreadyExists", "", a.CreateUser, iamapi.CreateUserInput{UserName: "Ann"})
		call(a, a.ListUsers, iamapi.ListUsersInput{})
		if now := a.epoch(); now != last {
			t.Errorf("epoch = %d after no change, %d before", now, last)
		}
	})
}

func TestGetAccountSummary(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		a.role("R")
		a.role("Q")
		a.policy("P")
		got := call(a, a.GetAccountSummary, iamapi.GetAccountSummaryInput{}).SummaryMap
		for key, want := range map[string]int{"Users": 1, "Roles": 2, "Groups": 0, "Policies": 1, "PolicyVersionsInUse": 1, "AccessKeysPerUserQuota": 2, "RolesQuota": 1000} {
			if got[key] != want {
				t.Errorf("%s = %d, want %d", key, got[key], want)
			}
		}
		if err := wire.Validate(iamapi.GetAccountSummary.Output, &iamapi.GetAccountSummaryOutput{SummaryMap: got}); err != nil {
			t.Error(err)
		}
	})
}

// open is an authoriser that allows everything.
type open struct{ *gate }

func (open) Authorize(context.Context, caller.Caller, []query.Access) error { return nil }

func TestRoutes_AnswersHaveTheirElements(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		g := &gate{user: caller.Caller{Account: account, ARN: arnPrefix + "user/x"}}
		r := query.New(query.Options{Service: iamapi.Service, Credentials: g, Authorizer: open{g}, Log: slog.New(slog.DiscardHandler)})
		a.Routes(r)
		for form, want := range map[string]string{
			"UpdateRole&RoleName=R&MaxSessionDuration=3600": "<UpdateRoleResult></UpdateRoleResult><ResponseMetadata>",
			"TagRole&RoleName=R&Tags=":                      `<TagRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata>`,
			"ListRolePolicies&RoleName=R":                   "<ListRolePoliciesResult><IsTruncated>false</IsTruncated><PolicyNames></PolicyNames></ListRolePoliciesResult>",
			"UpdateRoleDescription&RoleName=R&Description=": "<UpdateRoleDescriptionResult><Role>",
			"GetRole&RoleName=%20": "<Code>ValidationError</Code><Message>1 validation error detected: Value &#39; &#39; at &#39;roleName&#39; failed to " +
				"satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+</Message>",
			"DeleteRole": "<Message>1 validation error detected: Value null at &#39;roleName&#39; failed to satisfy constraint: Member must not be null</Message>",
		} {
			if _, body := send(r, "Action="+form); !strings.Contains(body, want) {
				t.Errorf("%s: %s, want %s", form, body, want)
			}
		}
	})
}

// TestCreateAccessKey_AtOnce holds that limits count what others are adding.
func TestCreateAccessKey_AtOnce(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		var (
			g    errgroup.Group
			made atomic.Int32
		)
		for range 6 {
			g.Go(func() error {
				_, err := a.CreateAccessKey(a.ctx, &iamapi.CreateAccessKeyInput{UserName: new("Ann")})
				if err == nil {
					made.Add(1)
				}
				if _, full := errors.AsType[*iamapi.LimitExceededException](err); full {
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil || made.Load() != 2 {
			t.Errorf("%d keys made, %v, want 2", made.Load(), err)
		}
	})
}
