package iam_test

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

func TestCreateUser_IsDescribedInFull(t *testing.T) {
	runAPI(t, func(a api) {
		limit := a.policy("limit")
		tags := []iamapi.Tag{{Key: "a", Value: ""}, {Key: "team", Value: "x y"}}
		made := call(a, a.CreateUser, iamapi.CreateUserInput{UserName: "Ann", Path: new("/dev/"), PermissionsBoundary: &limit, Tags: tags}).User
		want := iamapi.User{
			Arn: arnPrefix + "user/dev/Ann", CreateDate: made.CreateDate, Path: "/dev/", UserId: made.UserId, UserName: "Ann", Tags: tags,
			PermissionsBoundary: &iamapi.AttachedPermissionsBoundary{PermissionsBoundaryArn: &limit,
				PermissionsBoundaryType: new(iamapi.PermissionsBoundaryAttachmentType("Policy"))},
		}
		if diff := cmp.Diff(want, *made); diff != "" {
			t.Errorf("CreateUser (-want +got):\n%s", diff)
		}
		if !regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`).MatchString(made.UserId) || made.CreateDate.Nanosecond() != 0 {
			t.Errorf("id %s, made at %v", made.UserId, made.CreateDate)
		}
		if diff := cmp.Diff(want, call(a, a.GetUser, iamapi.GetUserInput{UserName: new("Ann")}).User); diff != "" {
			t.Errorf("GetUser (-want +got):\n%s", diff)
		}
		want.Tags, want.PermissionsBoundary = nil, nil
		if diff := cmp.Diff([]iamapi.User{want}, call(a, a.ListUsers, iamapi.ListUsersInput{}).Users); diff != "" {
			t.Errorf("ListUsers (-want +got):\n%s", diff)
		}
	})
}

func TestUser_Refusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		refused(a, "EntityAlreadyExists", "User with name ANN already exists.", a.CreateUser, iamapi.CreateUserInput{UserName: "ANN"})
		refused(a, "NoSuchEntity", "The user with name ann cannot be found.", a.GetUser, iamapi.GetUserInput{UserName: new("ann")})
		refused(a, "NoSuchEntity", "Scope ARN: "+arnPrefix+"policy/no does not exist or is not attachable.", a.CreateUser,
			iamapi.CreateUserInput{UserName: "b", PermissionsBoundary: new(arnPrefix + "policy/no")})
		refused(a, "InvalidInput", "reserved", a.CreateUser, iamapi.CreateUserInput{UserName: "b", Tags: []iamapi.Tag{{Key: "AWS:x"}}})
		refused(a, "NoSuchEntity", "The user with name b cannot be found.", a.DeleteUser, iamapi.DeleteUserInput{UserName: "b"})
		refused(a, "NoSuchEntity", "Login Profile for User Ann cannot be found.", a.DeleteLoginProfile,
			iamapi.DeleteLoginProfileInput{UserName: new("Ann")})
		refused(a, "NoSuchEntity", "The user with name b cannot be found.", a.ListSSHPublicKeys,
			iamapi.ListSSHPublicKeysInput{UserName: new("b")})
		refused(a, "NoSuchEntity", "User Ann does not have a permission boundary", a.DeleteUserPermissionsBoundary,
			iamapi.DeleteUserPermissionsBoundaryInput{UserName: "Ann"})
	})
}

func TestGetUser_WithoutNameIsTheCaller(t *testing.T) {
	runAPI(t, func(a api) {
		ann := a.user("Ann")
		if got := call(a.as("Ann"), a.GetUser, iamapi.GetUserInput{}).User; got.UserId != ann.UserId {
			t.Errorf("GetUser = %+v, want %+v", got, ann)
		}
		session := caller.With(t.Context(), caller.Caller{Account: account, UserID: "AROA:s", Kind: caller.RoleSession})
		_, err := a.GetUser(session, &iamapi.GetUserInput{})
		if bad, ok := errors.AsType[*wire.Invalid](err); !ok || bad.Text != "Must specify userName when calling with non-User credentials" {
			t.Errorf("GetUser of a session = %v", err)
		}
	})
}

func TestListUsers_FollowsMarkersAndPaths(t *testing.T) {
	runAPI(t, func(a api) {
		for name, path := range map[string]string{"a": "/", "B": "/x/", "c": "/x/y/", "d": "/xy/", "e": "/x/"} {
			call(a, a.CreateUser, iamapi.CreateUserInput{UserName: name, Path: &path})
		}
		list := func(prefix *string, limit int) (names [][]string) {
			for _, p := range pages(a, func(marker *string) ([]iamapi.User, *bool, *string) {
				out := call(a, a.ListUsers, iamapi.ListUsersInput{Marker: marker, MaxItems: &limit, PathPrefix: prefix})
				return out.Users, out.IsTruncated, out.Marker
			}) {
				page := []string{}
				for _, u := range p {
					page = append(page, u.UserName)
				}
				names = append(names, page)
			}
			return names
		}
		if diff := cmp.Diff([][]string{{"B", "a"}, {"c", "d"}, {"e"}}, list(nil, 2)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([][]string{{"B", "c"}, {"e"}}, list(new("/x/"), 2)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([][]string{{}}, list(new("/z"), 2)); diff != "" {
			t.Error(diff)
		}
		_, err := a.ListUsers(a.ctx, &iamapi.ListUsersInput{Marker: new("nonsense")})
		if _, ok := errors.AsType[*wire.Invalid](err); !ok {
			t.Errorf("ListUsers with a bad marker = %v", err)
		}
	})
}

func TestListUsers_HasPagesOf100(t *testing.T) {
	runAPI(t, func(a api) {
		for i := range 101 {
			a.user("u" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
		}
		out := call(a, a.ListUsers, iamapi.ListUsersInput{})
		if len(out.Users) != 100 || !*out.IsTruncated {
			t.Errorf("%d users, truncated = %v", len(out.Users), *out.IsTruncated)
		}
	})
}

func TestUpdateUser_KeepsEverythingUnderTheNewName(t *testing.T) {
	runAPI(t, func(a api) {
		was := a.user("Ann")
		key := call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")}).AccessKey
		a.group("ops")
		call(a, a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: "ops", UserName: "Ann"})
		call(a, a.AttachUserPolicy, iamapi.AttachUserPolicyInput{UserName: "Ann", PolicyArn: forBackup})
		call(a, a.PutUserPolicy, iamapi.PutUserPolicyInput{UserName: "Ann", PolicyName: "p", PolicyDocument: document})
		call(a, a.TagUser, iamapi.TagUserInput{UserName: "Ann", Tags: []iamapi.Tag{{Key: "k", Value: "v"}}})
		a.user("Bob")
		refused(a, "EntityAlreadyExists", "User with name bob already exists.", a.UpdateUser,
			iamapi.UpdateUserInput{UserName: "Ann", NewUserName: new("bob")})
		for _, name := range []string{"ANN", "Eve"} { // a change of case only, and another name
			old := call(a, a.ListUsers, iamapi.ListUsersInput{MaxItems: new(1)}).Users[0].UserName
			call(a, a.UpdateUser, iamapi.UpdateUserInput{UserName: old, NewUserName: &name, NewPath: new("/x/")})
			u := call(a, a.GetUser, iamapi.GetUserInput{UserName: &name}).User
			if u.UserId != was.UserId || u.Arn != arnPrefix+"user/x/"+name || len(u.Tags) != 1 {
				t.Errorf("user = %+v", u)
			}
			if keys := call(a, a.ListAccessKeys, iamapi.ListAccessKeysInput{UserName: &name}).AccessKeyMetadata; *keys[0].AccessKeyId != key.AccessKeyId {
				t.Errorf("keys = %+v", keys)
			}
			members := call(a, a.GetGroup, iamapi.GetGroupInput{GroupName: "ops"}).Users
			groups := call(a, a.ListGroupsForUser, iamapi.ListGroupsForUserInput{UserName: name}).Groups
			if len(members) != 1 || members[0].UserName != name || len(groups) != 1 {
				t.Errorf("members = %+v, groups = %+v", members, groups)
			}
			if p := call(a, a.ListAttachedUserPolicies, iamapi.ListAttachedUserPoliciesInput{UserName: name}).AttachedPolicies; len(p) != 1 {
				t.Errorf("attached = %+v", p)
			}
			if p := call(a, a.ListUserPolicies, iamapi.ListUserPoliciesInput{UserName: name}).PolicyNames; len(p) != 1 {
				t.Errorf("inline = %+v", p)
			}
		}
		if n := len(call(a, a.ListUsers, iamapi.ListUsersInput{}).Users); n != 2 {
			t.Errorf("%d users, want 2", n)
		}
	})
}

func TestDeleteUser_OnlyWhenNothingIsLeft(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		key := call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")}).AccessKey
		a.group("ops")
		call(a, a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: "ops", UserName: "Ann"})
		call(a, a.AttachUserPolicy, iamapi.AttachUserPolicyInput{UserName: "Ann", PolicyArn: forBackup})
		call(a, a.PutUserPolicy, iamapi.PutUserPolicyInput{UserName: "Ann", PolicyName: "p", PolicyDocument: document})
		call(a, a.TagUser, iamapi.TagUserInput{UserName: "Ann", Tags: []iamapi.Tag{{Key: "k"}}})
		in := iamapi.DeleteUserInput{UserName: "Ann"}
		refused(a, "DeleteConflict", "Cannot delete entity, must remove users from group first.", a.DeleteUser, in)
		call(a, a.RemoveUserFromGroup, iamapi.RemoveUserFromGroupInput{GroupName: "ops", UserName: "Ann"})
		refused(a, "DeleteConflict", "Cannot delete entity, must delete access keys first.", a.DeleteUser, in)
		call(a, a.DeleteAccessKey, iamapi.DeleteAccessKeyInput{UserName: new("Ann"), AccessKeyId: key.AccessKeyId})
		refused(a, "DeleteConflict", "Cannot delete entity, must detach all policies first.", a.DeleteUser, in)
		call(a, a.DetachUserPolicy, iamapi.DetachUserPolicyInput{UserName: "Ann", PolicyArn: forBackup})
		refused(a, "DeleteConflict", "Cannot delete entity, must delete policies first.", a.DeleteUser, in)
		call(a, a.DeleteUserPolicy, iamapi.DeleteUserPolicyInput{UserName: "Ann", PolicyName: "p"})
		call(a, a.DeleteUser, in)
		again := call(a, a.CreateUser, iamapi.CreateUserInput{UserName: "Ann"}).User
		if len(again.Tags) != 0 {
			t.Errorf("a new user has the tags of an old one: %+v", again.Tags)
		}
	})
}

func TestAccessKey_IsSwitchedOffAtOnce(t *testing.T) {
	runAPI(t, func(a api) {
		ann := a.user("Ann")
		key := call(a.as("Ann"), a.CreateAccessKey, iamapi.CreateAccessKeyInput{}).AccessKey
		if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(key.AccessKeyId) || key.UserName != "Ann" || key.Status != "Active" {
			t.Errorf("key = %+v", key)
		}
		secret, c, err := a.Lookup(t.Context(), key.AccessKeyId, "")
		if err != nil || secret != key.SecretAccessKey || c.UserID != ann.UserId {
			t.Errorf("Lookup = %+v, %v", c, err)
		}
		update := iamapi.UpdateAccessKeyInput{UserName: new("Ann"), AccessKeyId: key.AccessKeyId, Status: iamapi.StatusTypeInactive}
		call(a, a.UpdateAccessKey, update)
		if _, _, err := a.Lookup(t.Context(), key.AccessKeyId, ""); !errors.Is(err, sigv4.ErrInactive) {
			t.Errorf("Lookup of an inactive key = %v", err)
		}
		update.Status = iamapi.StatusTypeActive
		call(a, a.UpdateAccessKey, update)
		if _, _, err := a.Lookup(t.Context(), key.AccessKeyId, ""); err != nil {
			t.Errorf("Lookup of an active key = %v", err)
		}
		call(a, a.DeleteAccessKey, iamapi.DeleteAccessKeyInput{UserName: new("Ann"), AccessKeyId: key.AccessKeyId})
		if _, _, err := a.Lookup(t.Context(), key.AccessKeyId, ""); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("Lookup of a deleted key = %v", err)
		}
	})
}

func TestAccessKey_Refusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		a.user("Bob")
		id := call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")}).AccessKey.AccessKeyId
		call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")})
		refused(a, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2", a.CreateAccessKey,
			iamapi.CreateAccessKeyInput{UserName: new("Ann")})
		gone := "The Access Key with id " + id + " cannot be found."
		refused(a, "NoSuchEntity", gone, a.UpdateAccessKey, iamapi.UpdateAccessKeyInput{UserName: new("Bob"), AccessKeyId: id, Status: "Active"})
		refused(a, "NoSuchEntity", gone, a.DeleteAccessKey, iamapi.DeleteAccessKeyInput{UserName: new("Bob"), AccessKeyId: id})
		refused(a, "InvalidInput", "", a.UpdateAccessKey, iamapi.UpdateAccessKeyInput{UserName: new("Ann"), AccessKeyId: id, Status: "Expired"})
		refused(a, "NoSuchEntity", "The Access Key with id AKIANOBODYNOBODY cannot be found.", a.GetAccessKeyLastUsed,
			iamapi.GetAccessKeyLastUsedInput{AccessKeyId: "AKIANOBODYNOBODY"})
		out := call(a, a.GetAccessKeyLastUsed, iamapi.GetAccessKeyLastUsedInput{AccessKeyId: id})
		if diff := cmp.Diff(&iamapi.AccessKeyLastUsed{Region: "N/A", ServiceName: "N/A"}, out.AccessKeyLastUsed); *out.UserName != "Ann" || diff != "" {
			t.Errorf("last use by %s (-want +got):\n%s", *out.UserName, diff)
		}
	})
}

func TestGroup_MembersAndRefusals(t *testing.T) {
	runAPI(t, func(a api) {
		g := a.group("ops")
		if g.Arn != arnPrefix+"group/ops" || !regexp.MustCompile(`^AGPA[A-Z2-7]{17}$`).MatchString(g.GroupId) {
			t.Errorf("group = %+v", g)
		}
		a.user("Ann")
		refused(a, "EntityAlreadyExists", "Group with name OPS already exists.", a.CreateGroup, iamapi.CreateGroupInput{GroupName: "OPS"})
		refused(a, "NoSuchEntity", "The group with name x cannot be found.", a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: "x", UserName: "Ann"})
		refused(a, "NoSuchEntity", "The user with name x cannot be found.", a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: "ops", UserName: "x"})
		for range 2 {
			call(a, a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: "ops", UserName: "Ann"})
		}
		for i := range 9 {
			name := string(rune('a' + i))
			a.group(name)
			call(a, a.AddUserToGroup, iamapi.AddUserToGroupInput{GroupName: name, UserName: "Ann"})
		}
		a.group("z")
		refused(a, "LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10", a.AddUserToGroup,
			iamapi.AddUserToGroupInput{GroupName: "z", UserName: "Ann"})
		call(a, a.PutGroupPolicy, iamapi.PutGroupPolicyInput{GroupName: "ops", PolicyName: "p", PolicyDocument: document})
		call(a, a.UpdateGroup, iamapi.UpdateGroupInput{GroupName: "ops", NewGroupName: new("OPS"), NewPath: new("/x/")})
		in := iamapi.DeleteGroupInput{GroupName: "OPS"}
		refused(a, "DeleteConflict", "must remove users from group first.", a.DeleteGroup, in)
		out := call(a, a.GetGroup, iamapi.GetGroupInput{GroupName: "OPS"})
		if len(out.Users) != 1 || out.Group.Arn != arnPrefix+"group/x/OPS" || out.Group.GroupId != g.GroupId {
			t.Errorf("GetGroup = %+v", out)
		}
		call(a, a.RemoveUserFromGroup, iamapi.RemoveUserFromGroupInput{GroupName: "OPS", UserName: "Ann"})
		refused(a, "DeleteConflict", "must delete policies first.", a.DeleteGroup, in)
		call(a, a.DeleteGroupPolicy, iamapi.DeleteGroupPolicyInput{GroupName: "OPS", PolicyName: "p"})
		call(a, a.DeleteGroup, in)
		if n := len(call(a, a.ListGroups, iamapi.ListGroupsInput{}).Groups); n != 10 {
			t.Errorf("%d groups, want 10", n)
		}
	})
}

func TestGetAccessKeyLastUsed_AfterARequest(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		id := call(a, a.CreateAccessKey, iamapi.CreateAccessKeyInput{UserName: new("Ann")}).AccessKey.AccessKeyId
		_, c, err := a.Lookup(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		c.Region = "eu-west-1"
		for _, action := range []string{"backup:ListBackupJobs", "iam:ListUsers"} { // the second is too soon to be recorded
			if _, denied := errors.AsType[*wire.Denied](a.Authorize(t.Context(), c, caller.OnAll(action))); !denied {
				t.Fatalf("Ann may do %s", action)
			}
		}
		last := call(a, a.GetAccessKeyLastUsed, iamapi.GetAccessKeyLastUsedInput{AccessKeyId: id}).AccessKeyLastUsed
		if last.LastUsedDate == nil || last.Region != "eu-west-1" || last.ServiceName != "backup" {
			t.Errorf("last use = %+v", last)
		}
		again := func() string { // by a server that has just started
			t.Helper()
			s := iam.New(iam.Options{DB: a.db, Keys: rootKey(a.t), Pager: restjson.NewPager([]byte("key"))})
			if _, denied := errors.AsType[*wire.Denied](s.Authorize(t.Context(), c, caller.OnAll("iam:ListUsers"))); !denied {
				t.Fatal("Ann may list users")
			}
			return call(a, a.GetAccessKeyLastUsed, iamapi.GetAccessKeyLastUsedInput{AccessKeyId: id}).AccessKeyLastUsed.ServiceName
		}
		if service := again(); service != "backup" {
			t.Errorf("a use at once afterwards was recorded, for %s", service)
		}
		err = a.db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE iam_access_key SET used_at = used_at - 960000000")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if service := again(); service != "iam" {
			t.Errorf("a use 16 minutes later was not recorded: %s", service)
		}
	})
}
