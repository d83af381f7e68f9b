package iam

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// checkManaged checks the document of a managed policy.
func checkManaged(document string) error {
	if size(document) > maxManagedSize {
		return quota("PolicySize", maxManagedSize)
	}
	_, err := parse(document, policy.Identity)
	return err
}

// parse reads a document.
func parse(document string, k policy.Kind) (*policy.Document, error) {
	d, err := policy.Parse(document, k)
	if bad, ok := errors.AsType[*policy.Error](err); ok {
		return nil, iamapi.MalformedPolicyDocumentExceptionf("%s", bad.Text)
	}
	return d, err
}

// policyVersion is a version of a managed policy.
type policyVersion struct {
	number   int64
	document string
	created  time.Time
}

// describe is a version in the form of answers, to which some add the document.
func (v *policyVersion) describe(p *managedPolicy) *iamapi.PolicyVersion {
	return &iamapi.PolicyVersion{CreateDate: &v.created, IsDefaultVersion: new(v.number == p.version), VersionId: new(versionID(v.number))}
}

// versionsTx reads the versions of a policy, the newest first.
func (p *managedPolicy) versionsTx(ctx context.Context, tx *meta.Tx) ([]*policyVersion, error) {
	if p.aws != nil {
		return []*policyVersion{{p.version, p.aws.Document, p.created}}, nil
	}
	return selectTx(ctx, tx, func(rows *sql.Rows) (*policyVersion, error) {
		v, created := &policyVersion{}, int64(0)
		err := rows.Scan(&v.number, &v.document, &created)
		v.created = meta.FromMicros(created)
		return v, err
	}, "SELECT version, document, created_at FROM iam_policy_version WHERE arn = ? ORDER BY version DESC", p.policyARN)
}

// versionTx reads one version by its id.
func (p *managedPolicy) versionTx(ctx context.Context, tx *meta.Tx, id string) (*policyVersion, error) {
	all, err := p.versionsTx(ctx, tx)
	for _, v := range all {
		if versionID(v.number) == id {
			return v, nil
		}
	}
	if err == nil {
		err = iamapi.NoSuchEntityExceptionf("Policy %s version %s does not exist or is not attachable.", p.policyARN, id)
	}
	return nil, err
}

func insertVersionTx(ctx context.Context, tx *meta.Tx, arn string, number int64, document string, created int64) error {
	_, err := execTx(ctx, tx, "INSERT INTO iam_policy_version (arn, version, document, created_at) VALUES (?, ?, ?, ?)",
		arn, number, document, created)
	return err
}

// CreatePolicyVersion adds a version to a policy, and makes it the default one if asked.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *iamapi.CreatePolicyVersionInput) (
	*iamapi.CreatePolicyVersionOutput, error,
) {
	if err := checkManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &iamapi.CreatePolicyVersionOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := ownTx(ctx, tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		all, err := p.versionsTx(ctx, tx)
		if err != nil {
			return err
		}
		if len(all) >= maxVersions {
			return iamapi.LimitExceededExceptionf("A managed policy can have up to %d versions. Before you create a new version, "+
				"you must delete an existing version.", maxVersions)
		}
		v, at := &policyVersion{}, now()
		v.created = meta.FromMicros(at)
		err = tx.QueryRow(ctx, "SELECT next_version FROM iam_policy WHERE arn = ?", p.policyARN).Scan(&v.number)
		if err == nil {
			err = insertVersionTx(ctx, tx, p.policyARN, v.number, in.PolicyDocument, at)
		}
		if err != nil {
			return err
		}
		if isTrue(in.SetAsDefault) {
			p.version = v.number
		}
		out.PolicyVersion = v.describe(p)
		return runTx(ctx, tx, []any{p.version, v.number + 1, at, p.policyARN},
			"UPDATE iam_policy SET default_version = ?, next_version = ?, updated_at = ? WHERE arn = ?")
	})
}

// GetPolicyVersion answers a version with its document.
func (s *Service) GetPolicyVersion(ctx context.Context, in *iamapi.GetPolicyVersionInput) (
	*iamapi.GetPolicyVersionOutput, error,
) {
	out := &iamapi.GetPolicyVersionOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := managedTx(ctx, tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		v, err := p.versionTx(ctx, tx, in.VersionId)
		if err != nil {
			return err
		}
		out.PolicyVersion = v.describe(p)
		out.PolicyVersion.Document = new(encode(v.document))
		return nil
	})
}

// ListPolicyVersions lists the versions of a policy, the newest first, without their documents.
func (s *Service) ListPolicyVersions(ctx context.Context, in *iamapi.ListPolicyVersionsInput) (
	*iamapi.ListPolicyVersionsOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListPolicyVersions, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListPolicyVersionsOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := managedTx(ctx, tx, account, in.PolicyArn)
		if err != nil {
			return err
		}
		all, err := p.versionsTx(ctx, tx)
		if last := versionNumber(after(page, 0)); last > 0 {
			for len(all) > 0 && all[0].number >= last {
				all = all[1:]
			}
		}
		all, out.IsTruncated, out.Marker = cut(page, all, func(v *policyVersion) []string { return []string{versionID(v.number)} })
		out.Versions = mapped(all, func(v *policyVersion) iamapi.PolicyVersion { return *v.describe(p) })
		return err
	})
}

// DeletePolicyVersion removes a version that is not the default one.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *iamapi.DeletePolicyVersionInput) (
	*iamapi.DeletePolicyVersionOutput, error,
) {
	return nil, s.editVersion(ctx, in.PolicyArn, in.VersionId, func(ctx context.Context, tx *meta.Tx, p *managedPolicy, number int64) error {
		if number == p.version {
			return iamapi.DeleteConflictExceptionf("Cannot delete the default version of a policy.")
		}
		return runTx(ctx, tx, []any{p.policyARN, number}, "DELETE FROM iam_policy_version WHERE arn = ? AND version = ?")
	})
}

// SetDefaultPolicyVersion makes a version the one that counts.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *iamapi.SetDefaultPolicyVersionInput) (
	*iamapi.SetDefaultPolicyVersionOutput, error,
) {
	return nil, s.editVersion(ctx, in.PolicyArn, in.VersionId, func(ctx context.Context, tx *meta.Tx, p *managedPolicy, number int64) error {
		return runTx(ctx, tx, []any{number, now(), p.policyARN}, "UPDATE iam_policy SET default_version = ?, updated_at = ? WHERE arn = ?")
	})
}

// editVersion runs fn in a transaction in which the account has the policy and the version.
func (s *Service) editVersion(
	ctx context.Context, arn, id string, fn func(context.Context, *meta.Tx, *managedPolicy, int64) error,
) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		p, err := ownTx(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		v, err := p.versionTx(ctx, tx, id)
		if err != nil {
			return err
		}
		return fn(ctx, tx, p, v.number)
	})
}

// versionID is the name of a version, "v1".
func versionID(n int64) string { return "v" + strconv.FormatInt(n, 10) }

// versionNumber reads the name of a version; 0 is none.
func versionNumber(id string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, "v"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
