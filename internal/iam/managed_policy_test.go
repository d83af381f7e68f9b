package iam_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/iamapi"
)

func TestCreatePolicy_IsDescribedInFull(t *testing.T) {
	runAPI(t, func(a api) {
		made := *call(a, a.CreatePolicy, iamapi.CreatePolicyInput{PolicyName: "P", Path: new("/x/"), Description: new("d"),
			PolicyDocument: document, Tags: []iamapi.Tag{{Key: "k", Value: "v"}}}).Policy
		want := iamapi.Policy{
			Arn: new(arnPrefix + "policy/x/P"), AttachmentCount: new(0), CreateDate: made.CreateDate, DefaultVersionId: new("v1"),
			Description: new("d"), IsAttachable: new(true), Path: new("/x/"), PermissionsBoundaryUsageCount: new(0), PolicyId: made.PolicyId,
			PolicyName: new("P"), Tags: []iamapi.Tag{{Key: "k", Value: "v"}}, UpdateDate: made.CreateDate,
		}
		if diff := cmp.Diff(want, made); diff != "" || !regexp.MustCompile(`^ANPA[A-Z2-7]{17}$`).MatchString(*made.PolicyId) {
			t.Errorf("CreatePolicy (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, *call(a, a.GetPolicy, iamapi.GetPolicyInput{PolicyArn: *want.Arn}).Policy); diff != "" {
			t.Errorf("GetPolicy (-want +got):\n%s", diff)
		}
		want.Description, want.Tags = nil, nil
		if diff := cmp.Diff([]iamapi.Policy{want}, call(a, a.ListPolicies, iamapi.ListPoliciesInput{Scope: new(iamapi.PolicyScopeTypeLocal)}).Policies); diff != "" {
			t.Errorf("ListPolicies (-want +got):\n%s", diff)
		}
		v := *call(a, a.GetPolicyVersion, iamapi.GetPolicyVersionInput{PolicyArn: *want.Arn, VersionId: "v1"}).PolicyVersion
		if text, err := url.PathUnescape(*v.Document); err != nil || text != document || strings.Contains(*v.Document, "+") || !*v.IsDefaultVersion {
			t.Errorf("version = %+v, document = %s", v, text)
		}
	})
}

func versions(a api, arn string) (ids []string) {
	a.t.Helper()
	for _, p := range pages(a, func(marker *string) ([]iamapi.PolicyVersion, *bool, *string) {
		out := call(a, a.ListPolicyVersions, iamapi.ListPolicyVersionsInput{PolicyArn: arn, MaxItems: new(2), Marker: marker})
		return out.Versions, out.IsTruncated, out.Marker
	}) {
		for _, v := range p {
			id := *v.VersionId
			if *v.IsDefaultVersion {
				id += "*"
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func TestPolicyVersions_AtMostFiveAndNeverNumberedAgain(t *testing.T) {
	runAPI(t, func(a api) {
		arn := a.policy("P")
		create := iamapi.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document}
		for range 3 {
			call(a, a.CreatePolicyVersion, create)
		}
		create.SetAsDefault = new(true)
		if v := call(a, a.CreatePolicyVersion, create).PolicyVersion; *v.VersionId != "v5" || !*v.IsDefaultVersion {
			t.Errorf("version = %+v", v)
		}
		if diff := cmp.Diff([]string{"v5*", "v4", "v3", "v2", "v1"}, versions(a, arn)); diff != "" {
			t.Error(diff)
		}
		refused(a, "LimitExceeded", "A managed policy can have up to 5 versions.", a.CreatePolicyVersion, create)
		remove := func(id string) iamapi.DeletePolicyVersionInput {
			return iamapi.DeletePolicyVersionInput{PolicyArn: arn, VersionId: id}
		}
		refused(a, "DeleteConflict", "Cannot delete the default version of a policy.", a.DeletePolicyVersion, remove("v5"))
		call(a, a.SetDefaultPolicyVersion, iamapi.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: "v2"})
		call(a, a.DeletePolicyVersion, remove("v5"))
		refused(a, "NoSuchEntity", "version v5 does not exist", a.DeletePolicyVersion, remove("v5"))
		refused(a, "NoSuchEntity", "version v9 does not exist", a.SetDefaultPolicyVersion,
			iamapi.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: "v9"})
		create.SetAsDefault = nil
		call(a, a.CreatePolicyVersion, create)
		if diff := cmp.Diff([]string{"v6", "v4", "v3", "v2*", "v1"}, versions(a, arn)); diff != "" {
			t.Error(diff)
		}
		refused(a, "DeleteConflict", "This policy has more than one version.", a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: arn})
		for _, id := range []string{"v6", "v4", "v3", "v1"} {
			call(a, a.DeletePolicyVersion, remove(id))
		}
		call(a, a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: arn})
		refused(a, "NoSuchEntity", "Policy "+arn+" was not found.", a.GetPolicy, iamapi.GetPolicyInput{PolicyArn: arn})
	})
}

func TestPolicy_Refusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.policy("P")
		create := func(name, document string) iamapi.CreatePolicyInput {
			return iamapi.CreatePolicyInput{PolicyName: name, PolicyDocument: document}
		}
		refused(a, "EntityAlreadyExists", "A policy called p already exists. Duplicate names are not allowed.", a.CreatePolicy, create("p", document))
		refused(a, "MalformedPolicyDocument", "", a.CreatePolicy, create("q", "{"))
		refused(a, "MalformedPolicyDocument", "Policy document should not specify a principal.", a.CreatePolicy,
			create("q", strings.Replace(document, `"Action"`, `"Principal": "*", "Action"`, 1)))
		long := strings.Replace(document, `"backup:*"`, `"backup:`+strings.Repeat("a", 6200)+`"`, 1)
		refused(a, "LimitExceeded", "Cannot exceed quota for PolicySize: 6144", a.CreatePolicy, create("q", long))
		call(a, a.CreatePolicy, create("q", document+strings.Repeat("\n", 6200)))
		refused(a, "AccessDenied", "managed by AWS", a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: forBackup})
		refused(a, "AccessDenied", "managed by AWS", a.CreatePolicyVersion, iamapi.CreatePolicyVersionInput{PolicyArn: forBackup, PolicyDocument: document})
		refused(a, "AccessDenied", "managed by AWS", a.TagPolicy, iamapi.TagPolicyInput{PolicyArn: forBackup, Tags: []iamapi.Tag{{Key: "k"}}})
	})
}

func TestListPolicies_JoinsThoseOfTheAccountAndOfAWS(t *testing.T) {
	runAPI(t, func(a api) {
		own := a.policy("AWSBackupServiceRolePolicyForBackup") // a name that AWS uses, too
		limit := a.policy("zzz")
		a.user("Ann")
		call(a, a.AttachUserPolicy, iamapi.AttachUserPolicyInput{UserName: "Ann", PolicyArn: forBackup})
		call(a, a.PutUserPermissionsBoundary, iamapi.PutUserPermissionsBoundaryInput{UserName: "Ann", PermissionsBoundary: limit})
		list := func(in iamapi.ListPoliciesInput) (arns []string) {
			for _, p := range slices.Concat(pages(a, func(marker *string) ([]iamapi.Policy, *bool, *string) {
				in := in
				in.Marker, in.MaxItems = marker, new(1)
				out := call(a, a.ListPolicies, in)
				return out.Policies, out.IsTruncated, out.Marker
			})...) {
				arns = append(arns, *p.Arn)
			}
			return arns
		}
		all := list(iamapi.ListPoliciesInput{})
		at := slices.Index(all, own)
		if at < 0 || all[at+1] != forBackup || all[len(all)-1] != limit || !slices.Contains(all, "arn:aws:iam::aws:policy/AdministratorAccess") {
			t.Errorf("all = %q", all)
		}
		for want, in := range map[string]iamapi.ListPoliciesInput{
			forBackup + " " + limit: {OnlyAttached: new(true)},
			forBackup:               {PolicyUsageFilter: new(iamapi.PolicyUsageTypePermissionsPolicy)},
			limit:                   {PolicyUsageFilter: new(iamapi.PolicyUsageTypePermissionsBoundary)},
			own + " " + limit:       {Scope: new(iamapi.PolicyScopeTypeLocal)},
		} {
			if got := strings.Join(list(in), " "); got != want {
				t.Errorf("ListPolicies(%+v) = %s, want %s", in, got, want)
			}
		}
		aws := list(iamapi.ListPoliciesInput{Scope: new(iamapi.PolicyScopeTypeAws), PathPrefix: new("/service-role/")})
		if !slices.Contains(aws, forBackup) || slices.ContainsFunc(aws, func(arn string) bool { return !strings.Contains(arn, "aws:policy/service-role/") }) {
			t.Errorf("policies of AWS = %q", aws)
		}
	})
}

func TestAttach_CountsAndRefusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		attach := func(arn string) iamapi.AttachRolePolicyInput {
			return iamapi.AttachRolePolicyInput{RoleName: "R", PolicyArn: arn}
		}
		none := arnPrefix + "policy/none"
		refused(a, "NoSuchEntity", "Policy "+none+" does not exist or is not attachable.", a.AttachRolePolicy, attach(none))
		refused(a, "NoSuchEntity", "does not exist or is not attachable.", a.AttachRolePolicy, attach("arn:aws:iam::111111111111:policy/x"))
		refused(a, "PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.", a.AttachRolePolicy,
			attach("arn:aws:iam::aws:policy/aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup"))
		refused(a, "NoSuchEntity", "Policy "+forBackup+" was not found.", a.DetachRolePolicy, iamapi.DetachRolePolicyInput{RoleName: "R", PolicyArn: forBackup})
		for i := range 9 {
			call(a, a.AttachRolePolicy, attach(a.policy("p"+string(rune('0'+i)))))
		}
		for range 2 {
			call(a, a.AttachRolePolicy, attach(forBackup))
		}
		one := a.policy("p9")
		refused(a, "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10", a.AttachRolePolicy, attach(one))
		var names []string
		for _, page := range pages(a, func(marker *string) ([]iamapi.AttachedPolicy, *bool, *string) {
			out := call(a, a.ListAttachedRolePolicies, iamapi.ListAttachedRolePoliciesInput{RoleName: "R", MaxItems: new(4), Marker: marker})
			return out.AttachedPolicies, out.IsTruncated, out.Marker
		}) {
			for _, p := range page {
				names = append(names, *p.PolicyName)
			}
		}
		if len(names) != 10 || names[0] != "AWSBackupServiceRolePolicyForBackup" || names[9] != "p8" {
			t.Errorf("attached = %q", names)
		}
		if p := call(a, a.GetPolicy, iamapi.GetPolicyInput{PolicyArn: forBackup}).Policy; *p.AttachmentCount != 1 {
			t.Errorf("attached %d times, want 1", *p.AttachmentCount)
		}
	})
}

func TestListEntitiesForPolicy(t *testing.T) {
	runAPI(t, func(a api) {
		arn := a.policy("P")
		for _, name := range []string{"a", "b"} {
			a.user(name)
			a.group(name)
			a.role(name)
			call(a, a.AttachGroupPolicy, iamapi.AttachGroupPolicyInput{GroupName: name, PolicyArn: arn})
			call(a, a.AttachRolePolicy, iamapi.AttachRolePolicyInput{RoleName: name, PolicyArn: arn})
			call(a, a.PutUserPermissionsBoundary, iamapi.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: arn})
		}
		list := func(in iamapi.ListEntitiesForPolicyInput) string {
			all := slices.Concat(pages(a, func(marker *string) (names []string, truncated *bool, next *string) {
				in := in
				in.PolicyArn, in.MaxItems, in.Marker = arn, new(1), marker
				out := call(a, a.ListEntitiesForPolicy, in)
				for _, g := range out.PolicyGroups {
					names = append(names, "group "+*g.GroupName)
				}
				for _, r := range out.PolicyRoles {
					names = append(names, "role "+*r.RoleName)
				}
				for _, u := range out.PolicyUsers {
					names = append(names, "user "+*u.UserName)
				}
				return names, out.IsTruncated, out.Marker
			})...)
			return strings.Join(all, ", ")
		}
		for want, in := range map[string]iamapi.ListEntitiesForPolicyInput{
			"group a, group b, role a, role b, user a, user b": {},
			"role a, role b":                   {EntityFilter: new(iamapi.EntityTypeRole)},
			"user a, user b":                   {PolicyUsageFilter: new(iamapi.PolicyUsageTypePermissionsBoundary)},
			"group a, group b, role a, role b": {PolicyUsageFilter: new(iamapi.PolicyUsageTypePermissionsPolicy)},
			"":                                 {PathPrefix: new("/x/")},
		} {
			if got := list(in); got != want {
				t.Errorf("ListEntitiesForPolicy(%+v) = %s, want %s", in, got, want)
			}
		}
		refused(a, "DeleteConflict", "Cannot delete a policy attached to entities.", a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: arn})
		for _, name := range []string{"a", "b"} {
			call(a, a.DetachGroupPolicy, iamapi.DetachGroupPolicyInput{GroupName: name, PolicyArn: arn})
			call(a, a.DetachRolePolicy, iamapi.DetachRolePolicyInput{RoleName: name, PolicyArn: arn})
		}
		refused(a, "DeleteConflict", "Cannot delete a policy attached to entities.", a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: arn})
		for _, name := range []string{"a", "b"} {
			call(a, a.DeleteUserPermissionsBoundary, iamapi.DeleteUserPermissionsBoundaryInput{UserName: name})
		}
		call(a, a.DeletePolicy, iamapi.DeletePolicyInput{PolicyArn: arn})
	})
}

func TestInlinePolicy(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		put := func(name, document string) iamapi.PutUserPolicyInput {
			return iamapi.PutUserPolicyInput{UserName: "Ann", PolicyName: name, PolicyDocument: document}
		}
		get := iamapi.GetUserPolicyInput{UserName: "Ann", PolicyName: "p"}
		refused(a, "NoSuchEntity", "The user policy with name p cannot be found.", a.GetUserPolicy, get)
		refused(a, "NoSuchEntity", "The user policy with name p cannot be found.", a.DeleteUserPolicy,
			iamapi.DeleteUserPolicyInput{UserName: "Ann", PolicyName: "p"})
		refused(a, "NoSuchEntity", "The role with name R cannot be found.", a.PutRolePolicy,
			iamapi.PutRolePolicyInput{RoleName: "R", PolicyName: "p", PolicyDocument: document})
		refused(a, "MalformedPolicyDocument", "", a.PutUserPolicy, put("p", "nonsense"))
		fill := strings.Replace(document, "Allow", "Deny", 1)
		call(a, a.PutUserPolicy, put("p", fill))
		call(a, a.PutUserPolicy, put("p", document))
		if text, err := url.PathUnescape(call(a, a.GetUserPolicy, get).PolicyDocument); err != nil || text != document {
			t.Errorf("document = %s, %v", text, err)
		}
		long := func(n int) string {
			return strings.Replace(document, `"backup:*"`, `"backup:`+strings.Repeat("a", n)+`"`, 1)
		}
		refused(a, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user Ann", a.PutUserPolicy, put("q", long(2000)))
		call(a, a.PutUserPolicy, put("q", long(1500)))
		refused(a, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user Ann", a.PutUserPolicy, put("r", long(500)))
		got := slices.Concat(pages(a, func(marker *string) ([]string, *bool, *string) {
			out := call(a, a.ListUserPolicies, iamapi.ListUserPoliciesInput{UserName: "Ann", MaxItems: new(1), Marker: marker})
			return out.PolicyNames, out.IsTruncated, out.Marker
		})...)
		if diff := cmp.Diff([]string{"p", "q"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTags_AreMergedWhateverTheirCase(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		tag := func(tags ...iamapi.Tag) iamapi.TagRoleInput { return iamapi.TagRoleInput{RoleName: "R", Tags: tags} }
		long := strings.Repeat("é", 127)
		call(a, a.TagRole, tag(iamapi.Tag{Key: "Team", Value: "1"}, iamapi.Tag{Key: "a", Value: "2"}, iamapi.Tag{Key: long + "x"}, iamapi.Tag{Key: long + "y"}))
		call(a, a.TagRole, tag(iamapi.Tag{Key: "TEAM", Value: "3"}))
		list := func() []iamapi.Tag {
			return slices.Concat(pages(a, func(marker *string) ([]iamapi.Tag, *bool, *string) {
				out := call(a, a.ListRoleTags, iamapi.ListRoleTagsInput{RoleName: "R", MaxItems: new(1), Marker: marker})
				return out.Tags, out.IsTruncated, out.Marker
			})...)
		}
		got := list()
		if len(got) != 4 || got[0] != (iamapi.Tag{Key: "TEAM", Value: "3"}) || got[1].Key != "a" {
			t.Errorf("tags = %+v", got)
		}
		call(a, a.UntagRole, iamapi.UntagRoleInput{RoleName: "R", TagKeys: []string{"team", "A", "absent", long + "x"}})
		if got := list(); len(got) != 1 || got[0].Key != long+"y" {
			t.Errorf("tags = %+v", got)
		}
		refused(a, "InvalidInput", "Duplicate tag keys found.", a.TagRole, tag(iamapi.Tag{Key: "b"}, iamapi.Tag{Key: "B"}))
		many := make([]iamapi.Tag, 50)
		for i := range many {
			many[i].Key = "k" + strings.Repeat("x", i)
		}
		refused(a, "LimitExceeded", "The number of tags has reached the maximum limit", a.TagRole, tag(many...))
		call(a, a.TagRole, tag(many[1:]...))
	})
}
