package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// policyName is the name of the only policy a key has.
const policyName = "default"

// maxPolicy is the greatest length of a key policy in bytes.
const maxPolicy = policy.MaxSize

// defaultPolicy leaves it to the policies of the account's identities who may use a key.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html.
func defaultPolicy(account string) string {
	return `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",` +
		`"Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
}

// managedPolicy is the policy of the key of vaults for which none was named: whoever may use AWS Backup may use it
// there, and nobody may change it.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/encryption.html.
func managedPolicy(account, region string) string {
	return `{"Version":"2012-10-17","Id":"auto-backup-1","Statement":[` +
		`{"Sid":"Allow access through Backup for all principals in the account that are authorized to use Backup Storage",` +
		`"Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:CreateGrant","kms:Decrypt","kms:GenerateDataKey*",` +
		`"kms:DescribeKey","kms:RetireGrant"],"Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"` + account +
		`","kms:ViaService":"backup.` + region + `.amazonaws.com"}}},` +
		`{"Sid":"Allow direct access to key metadata to the account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account +
		`:root"},"Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],"Resource":"*"}]}`
}

// allowAll stands for the policies of an identity that may do everything.
const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// checkPolicy refuses what is not a policy, what names principals that do not exist and, unless it is told not to look,
// what would keep the caller from changing the policy again. It returns the unique ids of the principals.
func (s *Service) checkPolicy(ctx context.Context, tx *meta.Tx, k key, text string, bypass bool) (ids string, err error) {
	if len(text) > maxPolicy {
		return "", kmsapi.LimitExceededExceptionf("A key policy can have %d bytes at most.", maxPolicy)
	}
	d, err := policy.Parse(text, policy.Resource)
	if bad, ok := errors.AsType[*policy.Error](err); ok {
		return "", kmsapi.MalformedPolicyDocumentExceptionf("%s", bad.Text)
	}
	if err != nil {
		return "", err
	}
	found, err := s.o.Principals.PrincipalIDsTx(ctx, tx, d.Principals())
	if errors.Is(err, ErrPrincipal) {
		return "", kmsapi.MalformedPolicyDocumentExceptionf("Policy contains a statement with one or more invalid principals: %v", err)
	}
	if err != nil {
		return "", err
	}
	if !bypass && !changeable(ctx, k, policy.Attached{Document: d, IDs: found}) {
		return "", kmsapi.MalformedPolicyDocumentExceptionf("The new key policy will not allow you to update the key policy in the future.")
	}
	b, err := json.Marshal(found)
	return string(b), err
}

// changeable reports whether a policy lets the caller change it, as far as it depends on the policy.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html.
func changeable(ctx context.Context, k key, p policy.Attached) bool {
	c := caller.From(ctx)
	everything, err := policy.Parse(allowAll, policy.Identity)
	if err != nil {
		panic("kms: " + err.Error())
	}
	who := policy.Principal{Kind: policy.User, ARN: c.ARN, ID: c.UserID, Account: c.Account}
	switch c.Kind {
	case caller.RoleSession:
		who.Kind, who.RoleARN = policy.RoleSession, c.RoleARN
	case caller.Root:
		who.Kind = policy.RootUser
	}
	return policy.Decide(
		&policy.Request{Principal: who, Action: "kms:PutKeyPolicy", Resources: []string{k.arn()}, SameAccount: true,
			Context: policy.Values{"kms:calleraccount": {c.Account}}},
		&policy.Sets{Identity: []*policy.Document{everything}, Resource: []policy.Attached{p}, ResourceDecides: true}).Allowed
}

// GetKeyPolicy answers the policy of a key as it was put.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html.
func (s *Service) GetKeyPolicy(ctx context.Context, in *kmsapi.GetKeyPolicyInput) (*kmsapi.GetKeyPolicyOutput, error) {
	if err := errors.Join(byKeyOnly(in.KeyId), checkPolicyName(in.PolicyName)); err != nil {
		return nil, err
	}
	k, err := s.read(ctx, in.KeyId)
	if err != nil {
		return nil, err
	}
	return &kmsapi.GetKeyPolicyOutput{Policy: &k.policy, PolicyName: new(policyName)}, nil
}

func checkPolicyName(name *string) error {
	if name != nil && *name != policyName {
		return kmsapi.NotFoundExceptionf("No such policy exists: %s", *name)
	}
	return nil
}

// PutKeyPolicy replaces the policy of a key.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html.
func (s *Service) PutKeyPolicy(ctx context.Context, in *kmsapi.PutKeyPolicyInput) (*kmsapi.PutKeyPolicyOutput, error) {
	if err := errors.Join(byKeyOnly(in.KeyId), checkPolicyName(in.PolicyName)); err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		k, err := find(ctx, tx, in.KeyId, tx.ForUpdate())
		if err != nil {
			return err
		}
		ids, err := s.checkPolicy(ctx, tx, k, in.Policy, deref(in.BypassPolicyLockoutSafetyCheck))
		if err != nil {
			return err
		}
		return set(ctx, tx, k, "policy = ?, policy_ids = ?", in.Policy, ids)
	})
}

// ListKeyPolicies answers the name of the only policy a key has.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyPolicies.html.
func (s *Service) ListKeyPolicies(ctx context.Context, in *kmsapi.ListKeyPoliciesInput) (*kmsapi.ListKeyPoliciesOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	page, err := openPage(ctx, s, kmsapi.ListKeyPolicies, in)
	if err != nil {
		return nil, err
	}
	if _, err := s.read(ctx, in.KeyId); err != nil {
		return nil, err
	}
	out := &kmsapi.ListKeyPoliciesOutput{PolicyNames: []string{policyName}, Truncated: new(false)}
	if after(page) != "" {
		out.PolicyNames = []string{}
	}
	return out, nil
}

// Policy is the policy of a key as it was put.
type Policy struct {
	Text string
	IDs  map[string]string // ARN of a principal -> its unique id at that time
}

// KeyPolicies returns the policies of the keys that an ARN names: of a key, or none for anything else and for a key that
// does not exist.
func (s *Service) KeyPolicies(ctx context.Context, name string) (all []Policy, err error) {
	if !strings.HasPrefix(name, "arn:aws:kms:") {
		return nil, nil
	}
	var k key
	var ok bool
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		k, ok, err = byARN(ctx, tx, name, "")
		return err
	})
	if err != nil || !ok {
		return nil, err
	}
	p := Policy{Text: k.policy}
	if err := json.Unmarshal([]byte(k.policyIDs), &p.IDs); err != nil {
		return nil, fmt.Errorf("read policy of KMS key %s: %w", name, err)
	}
	return []Policy{p}, nil
}
