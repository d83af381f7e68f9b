package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// ErrPrincipal is wrapped by errors of [Principals] for a principal that does not exist.
var ErrPrincipal = errors.New("principal does not exist")

// Principals knows the users and roles that policies name.
type Principals interface {
	// PrincipalIDsTx returns the unique ids of those of the principals of a document ([policy.Document.Principals]) that
	// have one, by ARN.
	PrincipalIDsTx(ctx context.Context, tx *meta.Tx, principals []string) (map[string]string, error)
}

// AccessPolicy is the access policy of a vault as it was put.
type AccessPolicy struct {
	Text string
	IDs  map[string]string // ARN of a principal -> its unique id at that time
	On   string            // ARN of the vault
}

// PutBackupVaultAccessPolicy sets the policy that says who may do what with a vault and its recovery points.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func (s *Service) PutBackupVaultAccessPolicy(ctx context.Context, in *backupapi.PutBackupVaultAccessPolicyInput) (*backupapi.PutBackupVaultAccessPolicyOutput, error) {
	if in.Policy == nil || strings.TrimSpace(*in.Policy) == "" {
		return nil, backupapi.MissingParameterValueExceptionf("Policy is missing")
	}
	document, err := policy.Parse(*in.Policy, policy.Vault)
	if bad, ok := errors.AsType[*policy.Error](err); ok {
		return nil, backupapi.InvalidParameterValueExceptionf("%s", bad.Text)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.updatePolicy(ctx, in.BackupVaultName, func(ctx context.Context, tx *meta.Tx, v Vault) error {
		ids, err := s.principals.PrincipalIDsTx(ctx, tx, document.Principals())
		if errors.Is(err, ErrPrincipal) {
			return backupapi.InvalidParameterValueExceptionf("Provided principal is not valid")
		}
		if err != nil {
			return err
		}
		return setPolicy(ctx, tx, v.UUID, AccessPolicy{Text: *in.Policy, IDs: ids})
	})
}

// GetBackupVaultAccessPolicy answers the policy of a vault, as it was put.
func (s *Service) GetBackupVaultAccessPolicy(ctx context.Context, in *backupapi.GetBackupVaultAccessPolicyInput) (*backupapi.GetBackupVaultAccessPolicyOutput, error) {
	c := caller.From(ctx)
	var (
		v Vault
		p AccessPolicy
	)
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if v, err = byName(ctx, tx, c.Account, c.Region, in.BackupVaultName, ""); err != nil {
			return err
		}
		p, err = policyOf(ctx, tx, v.UUID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.Text == "" {
		return nil, backupapi.ResourceNotFoundExceptionf("Backup vault %s has no access policy", v.Name)
	}
	return &backupapi.GetBackupVaultAccessPolicyOutput{BackupVaultArn: new(v.ARN()), BackupVaultName: &v.Name, Policy: &p.Text}, nil
}

// DeleteBackupVaultAccessPolicy removes the policy of a vault, if it has one.
func (s *Service) DeleteBackupVaultAccessPolicy(ctx context.Context, in *backupapi.DeleteBackupVaultAccessPolicyInput) (*backupapi.DeleteBackupVaultAccessPolicyOutput, error) {
	return nil, s.updatePolicy(ctx, in.BackupVaultName, func(ctx context.Context, tx *meta.Tx, v Vault) error {
		return setPolicy(ctx, tx, v.UUID, AccessPolicy{})
	})
}

// updatePolicy changes the policy of a vault of the caller, which is locked while fn runs. It may protect data, and is in the
// store when it returns.
func (s *Service) updatePolicy(ctx context.Context, name string, fn func(context.Context, *meta.Tx, Vault) error) error {
	v, err := s.named(ctx, caller.From(ctx), name)
	if err == nil { // the operations declare no InvalidRequestException
		err = s.writable(ctx, v.UUID, func(format string, args ...any) error {
			return backupapi.InvalidParameterValueExceptionf(format, args...)
		})
	}
	if err != nil {
		return err
	}
	err = s.updateVault(ctx, name, func(ctx context.Context, tx *meta.Tx, now Vault) error {
		v = now
		if err := fn(ctx, tx, v); err != nil {
			return err
		}
		if err := s.announceVault(ctx, tx, v, modified); err != nil {
			return err
		}
		return s.touchVault(ctx, tx, v.UUID)
	})
	if err != nil {
		return err
	}
	return s.durable(ctx, v.UUID, "")
}

// updateVault changes a vault of the caller, which is locked while fn runs.
func (s *Service) updateVault(ctx context.Context, name string, fn func(context.Context, *meta.Tx, Vault) error) error {
	c := caller.From(ctx)
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		v, err := byName(ctx, tx, c.Account, c.Region, name, tx.ForUpdate())
		if err != nil {
			return err
		}
		return fn(ctx, tx, v)
	})
}

func setPolicy(ctx context.Context, tx *meta.Tx, vaultUUID string, p AccessPolicy) error {
	ids, err := encode(p.IDs)
	if err != nil {
		return err
	}
	return exec1(ctx, tx, "UPDATE vault SET access_policy = ?, access_policy_ids = ? WHERE uuid = ?", p.Text, ids, vaultUUID)
}

func policyOf(ctx context.Context, tx *meta.Tx, vaultUUID string) (AccessPolicy, error) {
	all, err := policies(ctx, tx, "uuid = ?", vaultUUID)
	if err != nil || len(all) == 0 {
		return AccessPolicy{}, err
	}
	return all[0], nil
}

// policies reads the policies of the vaults that a condition on their rows chooses; vaults without one are left out.
func policies(ctx context.Context, tx *meta.Tx, where string, args ...any) ([]AccessPolicy, error) {
	rows, err := tx.Query(ctx, "SELECT account, region, name, access_policy, access_policy_ids FROM vault WHERE access_policy <> '' AND "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read access policies: %w", err)
	}
	defer rows.Close()
	var all []AccessPolicy
	for rows.Next() {
		var (
			p                          AccessPolicy
			account, region, name, ids string
		)
		if err := rows.Scan(&account, &region, &name, &p.Text, &ids); err != nil {
			return nil, fmt.Errorf("read access policies: %w", err)
		}
		if err := json.Unmarshal([]byte(ids), &p.IDs); err != nil {
			return nil, fmt.Errorf("read access policies: %w", err)
		}
		p.On = arn.Vault(account, region, name)
		all = append(all, p)
	}
	return all, rows.Err()
}

// AccessPolicies returns the policies that speak about an access: those of the vaults among its names or, if there is
// none, those of the vaults that hold the recovery point it names.
func (s *Service) AccessPolicies(ctx context.Context, account, region string, a caller.Access) (found []AccessPolicy, err error) {
	if a.Resource == "*" {
		return nil, nil
	}
	names := append([]string{a.Resource}, a.Also...)
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found = nil
		named := false
		for _, name := range names {
			owner, place, vault, ok := vaultOf(name)
			if !ok {
				continue
			}
			named = true
			p, err := policies(ctx, tx, "account = ? AND region = ? AND name = ?", owner, place, vault)
			if err != nil {
				return err
			}
			found = append(found, p...)
		}
		if named {
			return nil
		}
		found, err = policies(ctx, tx, "uuid IN (SELECT vault_uuid FROM recovery_point WHERE account = ? AND region = ? AND arn = ?)",
			account, region, a.Resource)
		return err
	})
	return found, err
}

// vaultOf takes the ARN of a vault apart.
func vaultOf(name string) (account, region, vault string, ok bool) {
	a, err := arn.Parse(name)
	if err != nil || a.Service != "backup" {
		return "", "", "", false
	}
	vault, ok = strings.CutPrefix(a.Resource, "backup-vault:")
	return a.Account, a.Region, vault, ok
}
