package plan

import (
	"context"
	"fmt"
	"strconv"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// ListBackupPlans lists the plans of the account in the region, newest first.
func (s *Service) ListBackupPlans(ctx context.Context, in *backupapi.ListBackupPlansInput) (*backupapi.ListBackupPlansOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, backupapi.ListBackupPlans, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	where, args := "p.account = ? AND p.region = ?", []any{c.Account, c.Region}
	if in.IncludeDeleted == nil || !*in.IncludeDeleted {
		where += " AND p.deleted_at = 0"
	}
	if page.After != nil {
		created, err := strconv.ParseInt(page.After[0], 10, 64)
		if err != nil {
			return nil, err
		}
		where, args = where+" AND (p.created_at, p.id) < (?, ?)", append(args, created, page.After[1])
	}
	var list []backupapi.BackupPlansListMember
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		list, err = selectMembers(ctx, tx, `v.version = p.version WHERE `+where+` ORDER BY p.created_at DESC, p.id DESC LIMIT ?`,
			append(args, page.Limit+1)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupPlansOutput{BackupPlansList: list}
	if len(list) > page.Limit {
		out.BackupPlansList = list[:page.Limit]
		last := list[page.Limit-1]
		out.NextToken = page.Next(strconv.FormatInt(meta.Micros(*last.CreationDate), 10), *last.BackupPlanId)
	}
	return out, nil
}

// ListBackupPlanVersions lists the versions of a plan, newest first. Their creation dates are those of the versions.
func (s *Service) ListBackupPlanVersions(ctx context.Context, in *backupapi.ListBackupPlanVersionsInput) (*backupapi.ListBackupPlanVersionsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, backupapi.ListBackupPlanVersions, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	before := int64(maxVersions + 1)
	if page.After != nil {
		if before, err = strconv.ParseInt(page.After[0], 10, 64); err != nil {
			return nil, err
		}
	}
	var versions []planVersion
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		p, err := read(ctx, tx, c, in.BackupPlanId, "")
		if err != nil {
			return err
		}
		versions, err = selectVersions(ctx, tx, p, before, page.Limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupPlanVersionsOutput{BackupPlanVersionsList: []backupapi.BackupPlansListMember{}}
	if len(versions) > page.Limit {
		versions = versions[:page.Limit]
		out.NextToken = page.Next(strconv.FormatInt(versions[page.Limit-1].number, 10))
	}
	for _, v := range versions {
		out.BackupPlanVersionsList = append(out.BackupPlanVersionsList, v.BackupPlansListMember)
	}
	return out, nil
}

type planVersion struct {
	number int64
	backupapi.BackupPlansListMember
}

// selectMembers reads plans with the document of one version each; rest goes on behind "ON v.plan_id = p.id AND".
func selectMembers(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]backupapi.BackupPlansListMember, error) {
	versions, err := query(ctx, tx, rest, args...)
	list := make([]backupapi.BackupPlansListMember, 0, len(versions))
	for _, v := range versions {
		list = append(list, v.BackupPlansListMember)
	}
	return list, err
}

func selectVersions(ctx context.Context, tx *meta.Tx, p Plan, before int64, limit int) ([]planVersion, error) {
	versions, err := query(ctx, tx, "v.number < ? WHERE p.id = ? ORDER BY v.number DESC LIMIT ?", before, p.ID, limit)
	for i := range versions {
		v := &versions[i]
		if *v.VersionId != p.Version {
			v.DeletionDate = nil // only the current version is deleted with the plan
		}
	}
	return versions, err
}

func query(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]planVersion, error) {
	rows, err := tx.Query(ctx, `SELECT p.id, p.account, p.region, p.version, p.creator_request_id, p.created_at, p.deleted_at,
		p.executed_at, v.version, v.number, v.created_at, v.document FROM plan p JOIN plan_version v ON v.plan_id = p.id AND `+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	defer rows.Close()
	list := []planVersion{}
	for rows.Next() {
		var p Plan
		var v planVersion
		var id, text string
		var created, deleted, executed, versionCreated int64
		err := rows.Scan(&p.ID, &p.Account, &p.Region, &p.Version, &p.CreatorRequestID, &created, &deleted, &executed,
			&id, &v.number, &versionCreated, &text)
		if err != nil {
			return nil, fmt.Errorf("list plans: %w", err)
		}
		doc, err := decode(text)
		if err != nil {
			return nil, err
		}
		v.BackupPlansListMember = backupapi.BackupPlansListMember{
			BackupPlanArn: new(p.ARN()), BackupPlanId: &p.ID, BackupPlanName: &doc.BackupPlanName, CreationDate: new(timeOf(versionCreated)),
			DeletionDate: some(timeOf(deleted)), LastExecutionDate: some(timeOf(executed)), VersionId: &id,
			CreatorRequestId: some(p.CreatorRequestID), AdvancedBackupSettings: doc.AdvancedBackupSettings,
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
