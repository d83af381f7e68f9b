package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/query"
)

// Routes registers the operations of IAM.
func (s *Service) Routes(r *query.Router) {
	s.userRoutes(r)
	s.groupRoutes(r)
	s.roleRoutes(r)
	s.policyRoutes(r)
	s.profileRoutes(r)
	s.listRoutes(r)
	s.simulateRoutes(r)
}

// userRoutes are the operations on users.
func (s *Service) userRoutes(r *query.Router) {
	user := subject{userKind, "UserName"}
	on(r, s, iamapi.AttachUserPolicy, s.AttachUserPolicy, user)
	on(r, s, iamapi.CreateAccessKey, s.CreateAccessKey, user)
	on(r, s, iamapi.CreateUser, s.CreateUser, user)
	on(r, s, iamapi.DeleteAccessKey, s.DeleteAccessKey, user)
	on(r, s, iamapi.DeleteLoginProfile, s.DeleteLoginProfile, user)
	on(r, s, iamapi.DeleteUser, s.DeleteUser, user)
	on(r, s, iamapi.DeleteUserPermissionsBoundary, s.DeleteUserPermissionsBoundary, user)
	on(r, s, iamapi.DeleteUserPolicy, s.DeleteUserPolicy, user)
	on(r, s, iamapi.DetachUserPolicy, s.DetachUserPolicy, user)
	on(r, s, iamapi.GetLoginProfile, s.GetLoginProfile, user)
	on(r, s, iamapi.GetUser, s.GetUser, user)
	on(r, s, iamapi.GetUserPolicy, s.GetUserPolicy, user)
	on(r, s, iamapi.ListAccessKeys, s.ListAccessKeys, user)
	on(r, s, iamapi.ListAttachedUserPolicies, s.ListAttachedUserPolicies, user)
	on(r, s, iamapi.ListGroupsForUser, s.ListGroupsForUser, user)
	on(r, s, iamapi.ListMFADevices, s.ListMFADevices, user)
	on(r, s, iamapi.ListSSHPublicKeys, s.ListSSHPublicKeys, user)
	on(r, s, iamapi.ListServiceSpecificCredentials, s.ListServiceSpecificCredentials, user)
	on(r, s, iamapi.ListSigningCertificates, s.ListSigningCertificates, user)
	on(r, s, iamapi.ListUserPolicies, s.ListUserPolicies, user)
	on(r, s, iamapi.ListUserTags, s.ListUserTags, user)
	on(r, s, iamapi.PutUserPermissionsBoundary, s.PutUserPermissionsBoundary, user)
	on(r, s, iamapi.PutUserPolicy, s.PutUserPolicy, user)
	on(r, s, iamapi.TagUser, s.TagUser, user)
	on(r, s, iamapi.UntagUser, s.UntagUser, user)
	on(r, s, iamapi.UpdateAccessKey, s.UpdateAccessKey, user)
	on(r, s, iamapi.UpdateUser, s.UpdateUser, user)
	query.HandleOn(r, iamapi.GetAccessKeyLastUsed, s.GetAccessKeyLastUsed,
		func(ctx context.Context, in *iamapi.GetAccessKeyLastUsedInput) ([]query.Access, error) {
			owner, err := s.keyOwner(ctx, in.AccessKeyId)
			return caller.On("iam:GetAccessKeyLastUsed", owner), err
		})
}

// groupRoutes are the operations on groups.
func (s *Service) groupRoutes(r *query.Router) {
	group := subject{groupKind, "GroupName"}
	on(r, s, iamapi.AddUserToGroup, s.AddUserToGroup, group)
	on(r, s, iamapi.AttachGroupPolicy, s.AttachGroupPolicy, group)
	on(r, s, iamapi.CreateGroup, s.CreateGroup, group)
	on(r, s, iamapi.DeleteGroup, s.DeleteGroup, group)
	on(r, s, iamapi.DeleteGroupPolicy, s.DeleteGroupPolicy, group)
	on(r, s, iamapi.DetachGroupPolicy, s.DetachGroupPolicy, group)
	on(r, s, iamapi.GetGroup, s.GetGroup, group)
	on(r, s, iamapi.GetGroupPolicy, s.GetGroupPolicy, group)
	on(r, s, iamapi.ListAttachedGroupPolicies, s.ListAttachedGroupPolicies, group)
	on(r, s, iamapi.ListGroupPolicies, s.ListGroupPolicies, group)
	on(r, s, iamapi.PutGroupPolicy, s.PutGroupPolicy, group)
	on(r, s, iamapi.RemoveUserFromGroup, s.RemoveUserFromGroup, group)
	on(r, s, iamapi.UpdateGroup, s.UpdateGroup, group)
}

// roleRoutes are the operations on roles.
func (s *Service) roleRoutes(r *query.Router) {
	role := subject{roleKind, "RoleName"}
	on(r, s, iamapi.AttachRolePolicy, s.AttachRolePolicy, role)
	on(r, s, iamapi.CreateRole, s.CreateRole, role)
	on(r, s, iamapi.DeleteRole, s.DeleteRole, role)
	on(r, s, iamapi.DeleteRolePermissionsBoundary, s.DeleteRolePermissionsBoundary, role)
	on(r, s, iamapi.DeleteRolePolicy, s.DeleteRolePolicy, role)
	on(r, s, iamapi.DeleteServiceLinkedRole, s.DeleteServiceLinkedRole, role)
	on(r, s, iamapi.DetachRolePolicy, s.DetachRolePolicy, role)
	on(r, s, iamapi.GetRole, s.GetRole, role)
	on(r, s, iamapi.GetRolePolicy, s.GetRolePolicy, role)
	on(r, s, iamapi.ListAttachedRolePolicies, s.ListAttachedRolePolicies, role)
	on(r, s, iamapi.ListInstanceProfilesForRole, s.ListInstanceProfilesForRole, role)
	on(r, s, iamapi.ListRolePolicies, s.ListRolePolicies, role)
	on(r, s, iamapi.ListRoleTags, s.ListRoleTags, role)
	on(r, s, iamapi.PutRolePermissionsBoundary, s.PutRolePermissionsBoundary, role)
	on(r, s, iamapi.PutRolePolicy, s.PutRolePolicy, role)
	on(r, s, iamapi.TagRole, s.TagRole, role)
	on(r, s, iamapi.UntagRole, s.UntagRole, role)
	on(r, s, iamapi.UpdateAssumeRolePolicy, s.UpdateAssumeRolePolicy, role)
	on(r, s, iamapi.UpdateRole, s.UpdateRole, role)
	on(r, s, iamapi.UpdateRoleDescription, s.UpdateRoleDescription, role)
	query.Handle(r, iamapi.CreateServiceLinkedRole, s.CreateServiceLinkedRole, links)
	query.Handle(r, iamapi.GetServiceLinkedRoleDeletionStatus, s.GetServiceLinkedRoleDeletionStatus,
		func(c caller.Caller, in *iamapi.GetServiceLinkedRoleDeletionStatusInput) []query.Access {
			return caller.On("iam:GetServiceLinkedRoleDeletionStatus", roleOfTask(c.Account, in.DeletionTaskId))
		})
}

// policyRoutes are the operations on managed policies.
func (s *Service) policyRoutes(r *query.Router) {
	created, policy := subject{policyKind, "PolicyName"}, subject{policyKind, "PolicyArn"}
	on(r, s, iamapi.CreatePolicy, s.CreatePolicy, created)
	on(r, s, iamapi.CreatePolicyVersion, s.CreatePolicyVersion, policy)
	on(r, s, iamapi.DeletePolicy, s.DeletePolicy, policy)
	on(r, s, iamapi.DeletePolicyVersion, s.DeletePolicyVersion, policy)
	on(r, s, iamapi.GetPolicy, s.GetPolicy, policy)
	on(r, s, iamapi.GetPolicyVersion, s.GetPolicyVersion, policy)
	on(r, s, iamapi.ListEntitiesForPolicy, s.ListEntitiesForPolicy, policy)
	on(r, s, iamapi.ListPolicyTags, s.ListPolicyTags, policy)
	on(r, s, iamapi.ListPolicyVersions, s.ListPolicyVersions, policy)
	on(r, s, iamapi.SetDefaultPolicyVersion, s.SetDefaultPolicyVersion, policy)
	on(r, s, iamapi.TagPolicy, s.TagPolicy, policy)
	on(r, s, iamapi.UntagPolicy, s.UntagPolicy, policy)
}

// profileRoutes are the operations on instance profiles.
func (s *Service) profileRoutes(r *query.Router) {
	profile := subject{profileKind, "InstanceProfileName"}
	on(r, s, iamapi.CreateInstanceProfile, s.CreateInstanceProfile, profile)
	on(r, s, iamapi.DeleteInstanceProfile, s.DeleteInstanceProfile, profile)
	on(r, s, iamapi.GetInstanceProfile, s.GetInstanceProfile, profile)
	on(r, s, iamapi.RemoveRoleFromInstanceProfile, s.RemoveRoleFromInstanceProfile, profile)
	query.HandleOn(r, iamapi.AddRoleToInstanceProfile, s.AddRoleToInstanceProfile, s.passes)
}

// listRoutes are the operations on nothing in particular.
func (s *Service) listRoutes(r *query.Router) {
	on(r, s, iamapi.GetAccountSummary, s.GetAccountSummary, everything)
	on(r, s, iamapi.ListAccountAliases, s.ListAccountAliases, everything)
	on(r, s, iamapi.ListGroups, s.ListGroups, everything)
	on(r, s, iamapi.ListInstanceProfiles, s.ListInstanceProfiles, everything)
	on(r, s, iamapi.ListPolicies, s.ListPolicies, everything)
	on(r, s, iamapi.ListRoles, s.ListRoles, everything)
	on(r, s, iamapi.ListUsers, s.ListUsers, everything)
	on(r, s, iamapi.ListVirtualMFADevices, s.ListVirtualMFADevices, everything)
}
