package iam

import (
	"context"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// GetAccountSummary counts what the account has, and says what it could have.
func (s *Service) GetAccountSummary(ctx context.Context, _ *iamapi.GetAccountSummaryInput) (
	*iamapi.GetAccountSummaryOutput, error,
) {
	out := &iamapi.GetAccountSummaryOutput{SummaryMap: map[string]int{
		"AccessKeysPerUserQuota": maxKeys, "GroupsPerUserQuota": maxGroups, "VersionsPerPolicyQuota": maxVersions,
		"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"PolicySizeQuota": maxManagedSize, "UserPolicySizeQuota": maxUserInline, "GroupPolicySizeQuota": maxGroupInline,
		"RolePolicySizeQuota": maxRoleInline, "AssumeRolePolicySizeQuota": maxTrustSize,
		"AccountMFAEnabled": 0, "AccountAccessKeysPresent": 0, "AccountPasswordPresent": 0, "AccountSigningCertificatesPresent": 0,
		"MFADevices": 0, "MFADevicesInUse": 0, "Providers": 0, "ServerCertificates": 0,
	}}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		for _, k := range []*kind{userKind, groupKind, roleKind, policyKind, profileKind} {
			n, err := countTx(ctx, tx, k.table+" WHERE account = ?", account)
			if err != nil {
				return err
			}
			out.SummaryMap[k.plural], out.SummaryMap[k.plural+"Quota"] = n, k.max
		}
		n, err := countTx(ctx, tx, "iam_policy_version WHERE arn IN (SELECT arn FROM iam_policy WHERE account = ?)", account)
		out.SummaryMap["PolicyVersionsInUse"] = n
		return err
	})
}

// What follows does not exist here: aliases of accounts, passwords, and credentials other than access keys. There are none of them.

// ListAccountAliases lists none.
func (s *Service) ListAccountAliases(context.Context, *iamapi.ListAccountAliasesInput) (
	*iamapi.ListAccountAliasesOutput, error,
) {
	return &iamapi.ListAccountAliasesOutput{AccountAliases: []string{}, IsTruncated: new(false)}, nil
}

// ListVirtualMFADevices lists none.
func (s *Service) ListVirtualMFADevices(context.Context, *iamapi.ListVirtualMFADevicesInput) (
	*iamapi.ListVirtualMFADevicesOutput, error,
) {
	return &iamapi.ListVirtualMFADevicesOutput{VirtualMFADevices: []iamapi.VirtualMFADevice{}, IsTruncated: new(false)}, nil
}

// ListMFADevices lists none of a user.
func (s *Service) ListMFADevices(ctx context.Context, in *iamapi.ListMFADevicesInput) (
	*iamapi.ListMFADevicesOutput, error,
) {
	return &iamapi.ListMFADevicesOutput{MFADevices: []iamapi.MFADevice{}, IsTruncated: new(false)}, s.userExists(ctx, in.UserName)
}

// ListSSHPublicKeys lists none of a user.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *iamapi.ListSSHPublicKeysInput) (
	*iamapi.ListSSHPublicKeysOutput, error,
) {
	return &iamapi.ListSSHPublicKeysOutput{SSHPublicKeys: []iamapi.SSHPublicKeyMetadata{}, IsTruncated: new(false)}, s.userExists(ctx, in.UserName)
}

// ListSigningCertificates lists none of a user.
func (s *Service) ListSigningCertificates(ctx context.Context, in *iamapi.ListSigningCertificatesInput) (
	*iamapi.ListSigningCertificatesOutput, error,
) {
	return &iamapi.ListSigningCertificatesOutput{Certificates: []iamapi.SigningCertificate{}, IsTruncated: new(false)}, s.userExists(ctx, in.UserName)
}

// ListServiceSpecificCredentials lists none of a user, or of all.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *iamapi.ListServiceSpecificCredentialsInput) (
	*iamapi.ListServiceSpecificCredentialsOutput, error,
) {
	out := &iamapi.ListServiceSpecificCredentialsOutput{ServiceSpecificCredentials: []iamapi.ServiceSpecificCredentialMetadata{}, IsTruncated: new(false)}
	if isTrue(in.AllUsers) {
		return out, nil
	}
	return out, s.userExists(ctx, in.UserName)
}

// GetLoginProfile finds no password.
func (s *Service) GetLoginProfile(ctx context.Context, in *iamapi.GetLoginProfileInput) (
	*iamapi.GetLoginProfileOutput, error,
) {
	return nil, s.noLogin(ctx, in.UserName)
}

// DeleteLoginProfile finds no password.
func (s *Service) DeleteLoginProfile(ctx context.Context, in *iamapi.DeleteLoginProfileInput) (
	*iamapi.DeleteLoginProfileOutput, error,
) {
	return nil, s.noLogin(ctx, in.UserName)
}

func (s *Service) noLogin(ctx context.Context, name *string) error {
	return s.view(ctx, func(ctx context.Context, tx *meta.Tx, _ string) error {
		e, err := userTx(ctx, tx, name)
		if err == nil {
			err = iamapi.NoSuchEntityExceptionf("Login Profile for User %s cannot be found.", e.name)
		}
		return err
	})
}

// userExists answers an error unless the user, or the caller if no name is given, exists.
func (s *Service) userExists(ctx context.Context, name *string) error {
	return s.view(ctx, func(ctx context.Context, tx *meta.Tx, _ string) error {
		_, err := userTx(ctx, tx, name)
		return err
	})
}
