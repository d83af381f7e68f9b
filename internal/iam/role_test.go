package iam_test

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func TestCreateRole_IsDescribedInFull(t *testing.T) {
	runAPI(t, func(a api) {
		text := strings.Replace(trustOfBackup, "{", "{ \n", 1) // kept byte for byte
		made := call(a, a.CreateRole, iamapi.CreateRoleInput{RoleName: "R", Path: new("/service-role/"), AssumeRolePolicyDocument: text,
			Description: new("d é"), MaxSessionDuration: new(7200), Tags: []iamapi.Tag{{Key: "k", Value: "v"}}}).Role
		want := iamapi.Role{
			Arn: arnPrefix + "role/service-role/R", AssumeRolePolicyDocument: made.AssumeRolePolicyDocument, CreateDate: made.CreateDate,
			Description: new("d é"), MaxSessionDuration: new(7200), Path: "/service-role/", RoleId: made.RoleId, RoleName: "R",
			Tags: []iamapi.Tag{{Key: "k", Value: "v"}},
		}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Errorf("CreateRole (-want +got):\n%s", diff)
		}
		if got, err := url.PathUnescape(*made.AssumeRolePolicyDocument); err != nil || got != text {
			t.Errorf("trust = %s, %v", got, err)
		}
		if strings.ContainsAny(*made.AssumeRolePolicyDocument, `+ {":`) || !regexp.MustCompile(`^AROA[A-Z2-7]{17}$`).MatchString(made.RoleId) {
			t.Errorf("role = %+v", made)
		}
		listed := want
		listed.Tags = nil
		want.RoleLastUsed = &iamapi.RoleLastUsed{}
		if diff := cmp.Diff(want, call(a, a.GetRole, iamapi.GetRoleInput{RoleName: "R"}).Role); diff != "" {
			t.Errorf("GetRole (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]iamapi.Role{listed}, call(a, a.ListRoles, iamapi.ListRolesInput{PathPrefix: new("/service-role/")}).Roles); diff != "" {
			t.Errorf("ListRoles (-want +got):\n%s", diff)
		}
	})
}

func TestUpdateRole(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		call(a, a.UpdateRole, iamapi.UpdateRoleInput{RoleName: "R", MaxSessionDuration: new(3601)})
		got := *call(a, a.UpdateRoleDescription, iamapi.UpdateRoleDescriptionInput{RoleName: "R", Description: "d"}).Role
		if *got.Description != "d" || *got.MaxSessionDuration != 3601 {
			t.Errorf("role = %+v", got)
		}
		call(a, a.UpdateRoleDescription, iamapi.UpdateRoleDescriptionInput{RoleName: "R"})
		if got := call(a, a.GetRole, iamapi.GetRoleInput{RoleName: "R"}).Role; got.Description != nil || *got.MaxSessionDuration != 3601 {
			t.Errorf("role = %+v", got)
		}
	})
}

func trusting(principal string) string {
	return strings.Replace(trustOfBackup, `{"Service":"backup.amazonaws.com"}`, principal, 1)
}

func TestTrustPolicy_RemembersWhoItNamed(t *testing.T) {
	runAPI(t, func(a api) {
		ann := call(a, a.CreateUser, iamapi.CreateUserInput{UserName: "Ann", Path: new("/dev/x/")}).User
		r := a.role("R")
		session := "arn:aws:sts::" + account + ":assumed-role/R/s"
		text := trusting(`{"AWS":["` + ann.Arn + `","` + r.Arn + `","` + session + `","` + account + `","111111111111","` + ann.UserId + `"]}`)
		call(a, a.CreateRole, iamapi.CreateRoleInput{RoleName: "Q", AssumeRolePolicyDocument: text})
		want := map[string]string{ann.Arn: ann.UserId, r.Arn: r.RoleId, session: r.RoleId}
		if diff := cmp.Diff(want, a.trustIDs("Q")); diff != "" {
			t.Errorf("ids (-want +got):\n%s", diff)
		}
		call(a, a.DeleteUser, iamapi.DeleteUserInput{UserName: "Ann"}) // names what is no more from now on
		if diff := cmp.Diff(want, a.trustIDs("Q")); diff != "" {
			t.Errorf("ids after a deletion (-want +got):\n%s", diff)
		}
		refused(a, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"`+ann.Arn+`"`, a.UpdateAssumeRolePolicy,
			iamapi.UpdateAssumeRolePolicyInput{RoleName: "Q", PolicyDocument: text})
		call(a, a.UpdateAssumeRolePolicy, iamapi.UpdateAssumeRolePolicyInput{RoleName: "Q", PolicyDocument: trustOfBackup})
		if diff := cmp.Diff(map[string]string{}, a.trustIDs("Q")); diff != "" {
			t.Errorf("ids of another policy (-want +got):\n%s", diff)
		}
	})
}

func (a api) trustIDs(role string) (ids map[string]string) {
	a.t.Helper()
	var text string
	err := a.db.View(a.t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT trust_ids FROM iam_role WHERE name = ?", role).Scan(&text)
	})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &ids); err != nil {
		a.t.Fatal(err)
	}
	return ids
}

func TestTrustPolicy_Refusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.user("Ann")
		for principal, text := range map[string]string{
			`{"AWS":"` + arnPrefix + `user/x/Ann"}`:                            `Invalid principal in policy: "AWS":"` + arnPrefix + `user/x/Ann"`,
			`{"AWS":"` + arnPrefix + `role/R"}`:                                `Invalid principal in policy: "AWS":"` + arnPrefix + `role/R"`,
			`{"AWS":"arn:aws:sts::` + account + `:assumed-role/none/session"}`: `Invalid principal in policy: "AWS":"arn:aws:sts::`,
			`{"AWS":"arn:aws:iam::111111111111:user/Ann"}`:                     `Invalid principal in policy`,
			`{"AWS":"AIDAAAAAAAAAAAAAAAAAA"}`:                                  `Invalid principal in policy: "AWS":"AIDAAAAAAAAAAAAAAAAAA"`,
			`{"AWS":"nonsense"}`:                                               `Invalid principal in policy`,
		} {
			refused(a, "MalformedPolicyDocument", text, a.CreateRole,
				iamapi.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trusting(principal)})
		}
		for text, want := range map[string]string{
			document: "", "{": "", "[]": "", `{"Version":"2012-10-17"}`: "", strings.Replace(trustOfBackup, `"Action"`, `"Resource":"*","Action"`, 1): "Has prohibited field Resource",
		} {
			refused(a, "MalformedPolicyDocument", want, a.CreateRole, iamapi.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: text})
		}
		long := strings.Replace(trustOfBackup, `"Effect"`, `"Sid":"`+strings.Repeat("a", 2048)+`","Effect"`, 1)
		refused(a, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048", a.CreateRole,
			iamapi.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: long})
		call(a, a.CreateRole, iamapi.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trustOfBackup + strings.Repeat(" ", 3000)})
	})
}

func TestRole_Refusals(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		create := func(name, path string, boundary *string) iamapi.CreateRoleInput {
			return iamapi.CreateRoleInput{RoleName: name, Path: &path, AssumeRolePolicyDocument: trustOfBackup, PermissionsBoundary: boundary}
		}
		refused(a, "EntityAlreadyExists", "Role with name r already exists.", a.CreateRole, create("r", "/x/", nil))
		refused(a, "InvalidInput", "/aws-service-role/", a.CreateRole, create("q", "/aws-service-role/x/", nil))
		refused(a, "NoSuchEntity", "Scope ARN", a.CreateRole, create("q", "/", new(arnPrefix+"policy/none")))
		refused(a, "NoSuchEntity", "The role with name X cannot be found.", a.GetRole, iamapi.GetRoleInput{RoleName: "X"})
		refused(a, "NoSuchEntity", "Role R does not have a permission boundary", a.DeleteRolePermissionsBoundary,
			iamapi.DeleteRolePermissionsBoundaryInput{RoleName: "R"})
	})
}

func TestDeleteRole_OnlyWhenNothingIsLeft(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		call(a, a.CreateInstanceProfile, iamapi.CreateInstanceProfileInput{InstanceProfileName: "ip"})
		call(a, a.AddRoleToInstanceProfile, iamapi.AddRoleToInstanceProfileInput{InstanceProfileName: "ip", RoleName: "R"})
		call(a, a.AttachRolePolicy, iamapi.AttachRolePolicyInput{RoleName: "R", PolicyArn: forBackup})
		call(a, a.PutRolePolicy, iamapi.PutRolePolicyInput{RoleName: "R", PolicyName: "p", PolicyDocument: document})
		in := iamapi.DeleteRoleInput{RoleName: "R"}
		refused(a, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", a.DeleteRole, in)
		call(a, a.RemoveRoleFromInstanceProfile, iamapi.RemoveRoleFromInstanceProfileInput{InstanceProfileName: "ip", RoleName: "R"})
		refused(a, "DeleteConflict", "Cannot delete entity, must detach all policies first.", a.DeleteRole, in)
		call(a, a.DetachRolePolicy, iamapi.DetachRolePolicyInput{RoleName: "R", PolicyArn: forBackup})
		refused(a, "DeleteConflict", "Cannot delete entity, must delete policies first.", a.DeleteRole, in)
		call(a, a.DeleteRolePolicy, iamapi.DeleteRolePolicyInput{RoleName: "R", PolicyName: "p"})
		call(a, a.DeleteRole, in)
		refused(a, "NoSuchEntity", "The role with name R cannot be found.", a.DeleteRole, in)
	})
}

func TestInstanceProfile(t *testing.T) {
	runAPI(t, func(a api) {
		a.role("R")
		made := call(a, a.CreateInstanceProfile, iamapi.CreateInstanceProfileInput{InstanceProfileName: "ip", Path: new("/x/"),
			Tags: []iamapi.Tag{{Key: "k"}}}).InstanceProfile
		if made.Arn != arnPrefix+"instance-profile/x/ip" || made.Roles == nil || len(made.Tags) != 1 {
			t.Errorf("profile = %+v", made)
		}
		refused(a, "EntityAlreadyExists", "Instance Profile IP already exists.", a.CreateInstanceProfile,
			iamapi.CreateInstanceProfileInput{InstanceProfileName: "IP"})
		add := iamapi.AddRoleToInstanceProfileInput{InstanceProfileName: "ip", RoleName: "R"}
		call(a, a.AddRoleToInstanceProfile, add)
		refused(a, "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1", a.AddRoleToInstanceProfile, add)
		refused(a, "DeleteConflict", "must remove roles from instance profile first.", a.DeleteInstanceProfile,
			iamapi.DeleteInstanceProfileInput{InstanceProfileName: "ip"})
		got := call(a, a.GetInstanceProfile, iamapi.GetInstanceProfileInput{InstanceProfileName: "ip"}).InstanceProfile
		ofRole := call(a, a.ListInstanceProfilesForRole, iamapi.ListInstanceProfilesForRoleInput{RoleName: "R"}).InstanceProfiles
		all := call(a, a.ListInstanceProfiles, iamapi.ListInstanceProfilesInput{}).InstanceProfiles
		if len(got.Roles) != 1 || got.Roles[0].RoleName != "R" || len(ofRole) != 1 || len(all) != 1 {
			t.Errorf("profile = %+v, of role = %+v, all = %+v", got, ofRole, all)
		}
		call(a, a.RemoveRoleFromInstanceProfile, iamapi.RemoveRoleFromInstanceProfileInput{InstanceProfileName: "ip", RoleName: "R"})
		refused(a, "NoSuchEntity", "The role with name R cannot be found.", a.RemoveRoleFromInstanceProfile,
			iamapi.RemoveRoleFromInstanceProfileInput{InstanceProfileName: "ip", RoleName: "R"})
		call(a, a.DeleteInstanceProfile, iamapi.DeleteInstanceProfileInput{InstanceProfileName: "ip"})
		refused(a, "NoSuchEntity", "Instance Profile ip cannot be found.", a.GetInstanceProfile,
			iamapi.GetInstanceProfileInput{InstanceProfileName: "ip"})
	})
}

func TestServiceLinkedRole_IsMadeAndChangedByAWSAlone(t *testing.T) {
	runAPI(t, func(a api) {
		for service, name := range map[string]string{
			"backup.amazonaws.com": "AWSServiceRoleForBackup", "reports.backup.amazonaws.com": "AWSServiceRoleForBackupReports",
			"restore-testing.backup.amazonaws.com": "AWSServiceRoleForBackupRestoreTesting",
		} {
			in := iamapi.CreateServiceLinkedRoleInput{AWSServiceName: service}
			r := call(a, a.CreateServiceLinkedRole, in).Role
			if r.Arn != arnPrefix+"role/aws-service-role/"+service+"/"+name || !strings.Contains(*r.AssumeRolePolicyDocument, service) {
				t.Errorf("role = %+v", r)
			}
			if p := call(a, a.ListAttachedRolePolicies, iamapi.ListAttachedRolePoliciesInput{RoleName: name}).AttachedPolicies; len(p) != 1 {
				t.Errorf("policies of %s = %+v", name, p)
			}
			refused(a, "InvalidInput", "Service role name "+name+" has been taken in this account, please try a different suffix.", a.CreateServiceLinkedRole, in)
		}
		refused(a, "NotSupportedService", "foo.amazonaws.com", a.CreateServiceLinkedRole, iamapi.CreateServiceLinkedRoleInput{AWSServiceName: "foo.amazonaws.com"})
		refused(a, "InvalidInput", "Custom suffix is not allowed for backup.amazonaws.com", a.CreateServiceLinkedRole,
			iamapi.CreateServiceLinkedRoleInput{AWSServiceName: "backup.amazonaws.com", CustomSuffix: new("x")})
		name := "AWSServiceRoleForBackup"
		const text = "Cannot perform the operation on the protected role 'AWSServiceRoleForBackup'"
		refused(a, "UnmodifiableEntity", text, a.DeleteRole, iamapi.DeleteRoleInput{RoleName: name})
		refused(a, "UnmodifiableEntity", text, a.AttachRolePolicy, iamapi.AttachRolePolicyInput{RoleName: name, PolicyArn: forBackup})
		refused(a, "UnmodifiableEntity", text, a.DetachRolePolicy, iamapi.DetachRolePolicyInput{RoleName: name, PolicyArn: forBackup})
		refused(a, "UnmodifiableEntity", text, a.PutRolePolicy, iamapi.PutRolePolicyInput{RoleName: name, PolicyName: "p", PolicyDocument: document})
		refused(a, "UnmodifiableEntity", text, a.DeleteRolePolicy, iamapi.DeleteRolePolicyInput{RoleName: name, PolicyName: "p"})
		refused(a, "UnmodifiableEntity", text, a.UpdateAssumeRolePolicy, iamapi.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: trustOfBackup})
		refused(a, "UnmodifiableEntity", text, a.UpdateRole, iamapi.UpdateRoleInput{RoleName: name, MaxSessionDuration: new(3600)})
		refused(a, "UnmodifiableEntity", text, a.PutRolePermissionsBoundary, iamapi.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: forBackup})
		call(a, a.CreateInstanceProfile, iamapi.CreateInstanceProfileInput{InstanceProfileName: "ip"})
		refused(a, "UnmodifiableEntity", text, a.AddRoleToInstanceProfile, iamapi.AddRoleToInstanceProfileInput{InstanceProfileName: "ip", RoleName: name})
		call(a, a.UpdateRole, iamapi.UpdateRoleInput{RoleName: name, Description: new("mine")})
		call(a, a.TagRole, iamapi.TagRoleInput{RoleName: name, Tags: []iamapi.Tag{{Key: "k"}}})
	})
}

func TestDeleteServiceLinkedRole(t *testing.T) {
	runAPI(t, func(a api) {
		ensure := func() (created bool) {
			err := a.db.Update(a.ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
				created, err = a.EnsureServiceLinkedRoleTx(ctx, tx, account, "backup.amazonaws.com")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return created
		}
		if !ensure() || ensure() {
			t.Error("EnsureServiceLinkedRoleTx made the role not once")
		}
		in := iamapi.DeleteServiceLinkedRoleInput{RoleName: "AWSServiceRoleForBackup"}
		task := call(a, a.DeleteServiceLinkedRole, in).DeletionTaskId
		if !strings.HasPrefix(task, "task/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup/") {
			t.Errorf("task = %s", task)
		}
		status := call(a, a.GetServiceLinkedRoleDeletionStatus, iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task})
		if status.Status != "SUCCEEDED" {
			t.Errorf("status = %s", status.Status)
		}
		refused(a, "NoSuchEntity", "cannot be found", a.GetServiceLinkedRoleDeletionStatus,
			iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task + "x"})
		refused(a, "NoSuchEntity", "cannot be found", a.DeleteServiceLinkedRole, in)
		a.role("R")
		refused(a, "InvalidInput", "not a service-linked role", a.DeleteServiceLinkedRole, iamapi.DeleteServiceLinkedRoleInput{RoleName: "R"})
		if !ensure() {
			t.Error("EnsureServiceLinkedRoleTx did not make the role again")
		}
	})
}
