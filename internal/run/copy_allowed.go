package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/internal/wire"
)

// Organization knows what the accounts of the server may do together.
type Organization interface {
	// CrossAccount reports whether backups may be copied to other accounts.
	CrossAccount(ctx context.Context) (bool, error)
	// ServiceRole returns the role by which the service acts in an account of its own accord, and makes it if need be.
	ServiceRole(ctx context.Context, account string) (roleARN string, err error)
}

// allowance is what was found out about a copy job before it is claimed: nothing of it is seen in the vault that is to
// receive the copy, which may be another account's, unless it is allowed there.
type allowance struct {
	source vault.Point
	denied string // why it may not be made; empty if it may
	lost   bool   // there is no source
	role   string // that the copy counts as made by
}

// allow asks what a copy job needs to be allowed, in the order in which AWS Backup does. Its error says that this is not
// known.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-cross-account-backup.html.
func (w *Copies) allow(ctx context.Context, c job.Copy) (a allowance, err error) {
	a.source, err = w.Vaults.Point(ctx, c.SourceVaultUUID, c.SourcePointARN) // nobody deletes it as long as the job waits or runs
	if a.lost = errors.Is(err, vault.ErrNotFound); err != nil && !a.lost {
		return a, err
	}
	a.role = c.RoleARN
	other := c.VaultAccount() != c.Account
	if other {
		enabled, err := w.Organization.CrossAccount(ctx)
		if err == nil && !enabled {
			a.denied = "Copy job failed. Cross-account backup is not enabled for the organization: its management account has to set " +
				"isCrossAccountBackupEnabled"
		}
		if err != nil || !enabled {
			return a, err
		}
	}
	denied := w.Authority(ctx, c.Account, c.RoleARN, iam.CopyRights(c.SourcePointARN, c.SourceVaultARN, c.VaultARN))
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case denied != nil && other:
		a.denied = "Access Denied trying to call AWS Backup service. " + denied.Error()
	case denied != nil:
		a.denied = denied.Error()
	case other:
		a.role, err = w.Organization.ServiceRole(ctx, c.VaultAccount())
		if api, refused := errors.AsType[wire.APIError](err); refused {
			a.denied, err = api.Error(), nil
		}
	}
	return a, err
}

// refusal says why a job ends before it begins; empty if it does not. gone says that there is no vault to receive the copy.
func (a allowance) refusal(c job.Copy, gone bool) string {
	switch {
	case a.denied != "":
		return a.denied
	case gone:
		return fmt.Sprintf("Backup vault %s does not exist", c.VaultARN)
	case a.lost:
		return fmt.Sprintf("Recovery point %s does not exist", c.SourcePointARN)
	case a.source.Status == vault.Deleting:
		return fmt.Sprintf("Recovery point %s is no longer available: it is being deleted", c.SourcePointARN)
	}
	return ""
}

// lockVaultOf locks the row of the vault that receives a copy, and reports whether it is gone.
func (w *Copies) lockVaultOf(ctx context.Context, tx *meta.Tx, c job.Copy) (gone bool, err error) {
	_, err = w.Vaults.LockTx(ctx, tx, c.VaultUUID)
	if errors.Is(err, vault.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// newCopy is a copy when its job starts.
func newCopy(c job.Copy, a allowance) vault.NewPoint {
	n := vault.NewPoint{
		VaultUUID: c.VaultUUID, ARN: c.PointARN, ResourceARN: c.ResourceARN, ResourceType: c.ResourceType,
		ResourceName: c.ResourceName, RoleARN: a.role, JobID: c.ID, InitiatedAt: c.CreatedAt,
		DeleteAfterDays: c.DeleteAfterDays, ColdAfterDays: c.ColdAfterDays, CreatedAt: a.source.CreatedAt, SourceVaultARN: c.SourceVaultARN,
		Composite: vault.Composite{ParentARN: c.ParentPoint, MemberID: c.Member},
	}
	if c.VaultAccount() == c.Account { // plans are their account's own business
		n.CreatedBy = c.CreatedBy
	}
	return n
}
