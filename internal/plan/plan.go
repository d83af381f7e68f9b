package plan

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Plan is the row of a backup plan.
type Plan struct {
	ID               string
	Account, Region  string
	Name             string
	Version          string // the current one
	CreatorRequestID string
	CreatedAt        time.Time
	DeletedAt        time.Time // zero while the plan lives
	ExecutedAt       time.Time // zero before a rule fires

	digest, request string
}

// ARN is the plan's name for clients.
func (p Plan) ARN() string { return ARN(p.Account, p.Region, p.ID) }

const planColumns = "id, account, region, name, version, digest, creator_request_id, request, created_at, deleted_at, executed_at"

func scanPlan(scan func(...any) error) (p Plan, err error) {
	var created, deleted, executed int64
	err = scan(&p.ID, &p.Account, &p.Region, &p.Name, &p.Version, &p.digest, &p.CreatorRequestID, &p.request, &created, &deleted, &executed)
	p.CreatedAt, p.DeletedAt, p.ExecutedAt = timeOf(created), timeOf(deleted), timeOf(executed)
	return p, err
}

func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return meta.FromMicros(micros)
}

func microsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return meta.Micros(t)
}

// some is a member that is left out while it is zero.
func some[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// read finds a plan of the caller, deleted or not; lock is "" or the end of the statement that locks its row.
func read(ctx context.Context, tx *meta.Tx, c caller.Caller, id, lock string) (Plan, error) {
	p, err := scanPlan(tx.QueryRow(ctx, "SELECT "+planColumns+" FROM plan WHERE id = ? AND account = ? AND region = ?"+lock,
		id, c.Account, c.Region).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return p, errNoPlan()
	}
	if err != nil {
		return p, fmt.Errorf("read plan %s: %w", id, err)
	}
	return p, nil
}

// live is read for a plan that is not deleted.
func live(ctx context.Context, tx *meta.Tx, c caller.Caller, id, lock string) (Plan, error) {
	p, err := read(ctx, tx, c, id, lock)
	if err == nil && !p.DeletedAt.IsZero() {
		err = errNoPlan()
	}
	return p, err
}

func errNoPlan() error {
	return backupapi.ResourceNotFoundExceptionf("Failed reading Backup plan with provided version")
}

// CreateBackupPlan makes a plan. Repeating a call with its CreatorRequestId answers the plan that exists; the same
// document with another one is refused.
func (s *Service) CreateBackupPlan(ctx context.Context, in *backupapi.CreateBackupPlanInput) (*backupapi.CreateBackupPlanOutput, error) {
	doc, err := s.document(&in.BackupPlan, nil)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	p := Plan{ID: uuid.NewString(), Account: c.Account, Region: c.Region, Name: doc.BackupPlanName, Version: newVersion(),
		CreatedAt: s.now(), digest: digest(doc), request: restjson.Fingerprint(backupapi.CreateBackupPlan, in)}
	if in.CreatorRequestId != nil {
		p.CreatorRequestID = *in.CreatorRequestId
	}
	if err := checkCreator(p.CreatorRequestID); err != nil {
		return nil, err
	}
	var made Plan
	err = s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		made, err = s.create(ctx, tx, p, doc, in.BackupPlanTags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.CreateBackupPlanOutput{
		BackupPlanArn: new(made.ARN()), BackupPlanId: &made.ID, CreationDate: &made.CreatedAt, VersionId: &made.Version,
		AdvancedBackupSettings: doc.AdvancedBackupSettings,
	}, nil
}

func (s *Service) create(ctx context.Context, tx *meta.Tx, p Plan, doc *backupapi.BackupPlan, tags map[string]string) (Plan, error) {
	count, err := addPlans(ctx, tx, p.Account, p.Region, 1)
	if err != nil {
		return p, err
	}
	old, err := s.existing(ctx, tx, p)
	if err != nil || old.ID != "" {
		if err == nil {
			_, err = addPlans(ctx, tx, p.Account, p.Region, -1)
		}
		return old, err
	}
	if count > s.o.Quota {
		return p, backupapi.LimitExceededExceptionf("The limit of %d backup plans per account and Region is reached", s.o.Quota)
	}
	if err := s.checkTargetsTx(ctx, tx, p.Account, p.Region, doc); err != nil {
		return p, err
	}
	_, err = tx.Exec(ctx, "INSERT INTO plan ("+planColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
		p.ID, p.Account, p.Region, p.Name, p.Version, p.digest, p.CreatorRequestID, p.request, meta.Micros(p.CreatedAt))
	if err != nil {
		return p, fmt.Errorf("insert plan: %w", err)
	}
	if err := s.insertVersion(ctx, tx, p, doc, p.CreatedAt); err != nil {
		return p, err
	}
	if err := s.o.Tags.SetTagsTx(ctx, tx, p.Account, p.ARN(), tags); err != nil {
		return p, err
	}
	return p, s.announce(ctx, tx, p, created)
}

// addPlans changes the number of live plans, locks the row that holds it, and returns the number.
func addPlans(ctx context.Context, tx *meta.Tx, account, region string, n int) (count int, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO plan_partition (account, region, plans) VALUES (?, ?, ?)
		ON CONFLICT (account, region) DO UPDATE SET plans = plan_partition.plans + excluded.plans RETURNING plans`,
		account, region, n).Scan(&count)
	if err != nil {
		return 0, fmt.Errorf("count plans: %w", err)
	}
	return count, nil
}

// existing returns the plan that the request to make p has made before, and an API error if another plan is in its way.
func (s *Service) existing(ctx context.Context, tx *meta.Tx, p Plan) (Plan, error) {
	if p.CreatorRequestID != "" {
		old, err := scanPlan(tx.QueryRow(ctx, "SELECT "+planColumns+` FROM plan WHERE account = ? AND region = ?
			AND creator_request_id = ? AND deleted_at = 0`, p.Account, p.Region, p.CreatorRequestID).Scan)
		switch {
		case err == nil && old.request == p.request:
			return old, nil
		case err == nil:
			return Plan{}, exists(old, "Backup plan with the same CreatorRequestId already exists")
		case !errors.Is(err, sql.ErrNoRows):
			return Plan{}, fmt.Errorf("read plan: %w", err)
		}
	}
	old, err := scanPlan(tx.QueryRow(ctx, "SELECT "+planColumns+` FROM plan WHERE account = ? AND region = ? AND digest = ?
		AND deleted_at = 0`, p.Account, p.Region, p.digest).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Plan{}, nil
	}
	if err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	return Plan{}, exists(old, "Backup plan with the same plan document already exists")
}

func exists(old Plan, text string) error {
	err := backupapi.AlreadyExistsExceptionf("%s", text)
	err.Arn, err.CreatorRequestId = old.ARN(), old.CreatorRequestID
	return err
}

// newVersion is the id of a version, in the form that AWS gives it.
func newVersion() string { return base64.StdEncoding.EncodeToString([]byte(uuid.NewString())) }

// checkCreator checks a CreatorRequestId: 1 to 50 of A-Z a-z 0-9 - _ and the full stop.
func checkCreator(id string) error {
	for _, r := range id {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return invalid("CreatorRequestId may hold letters, digits and -_. only: %q", id)
		}
	}
	if len(id) > 50 {
		return invalid("CreatorRequestId may have at most 50 characters: %q", id)
	}
	return nil
}

// UpdateBackupPlan replaces the document of a plan. One that is equal to the current document changes nothing.
func (s *Service) UpdateBackupPlan(ctx context.Context, in *backupapi.UpdateBackupPlanInput) (*backupapi.UpdateBackupPlanOutput, error) {
	c := caller.From(ctx)
	var p Plan
	var doc *backupapi.BackupPlan
	err := s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if p, err = live(ctx, tx, c, in.BackupPlanId, tx.ForUpdate()); err != nil {
			return err
		}
		_, old, err := version(ctx, tx, p.ID, p.Version)
		if err != nil {
			return err
		}
		if doc, err = s.document(&in.BackupPlan, old); err != nil || digest(doc) == p.digest {
			return err
		}
		return s.replace(ctx, tx, &p, doc)
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.UpdateBackupPlanOutput{
		BackupPlanArn: new(p.ARN()), BackupPlanId: &p.ID, CreationDate: &p.CreatedAt, VersionId: &p.Version,
		AdvancedBackupSettings: doc.AdvancedBackupSettings,
	}, nil
}

func (s *Service) replace(ctx context.Context, tx *meta.Tx, p *Plan, doc *backupapi.BackupPlan) error {
	if err := s.checkTargetsTx(ctx, tx, p.Account, p.Region, doc); err != nil {
		return err
	}
	p.Version, p.Name, p.digest = newVersion(), doc.BackupPlanName, digest(doc)
	_, err := tx.Exec(ctx, "UPDATE plan SET version = ?, name = ?, digest = ? WHERE id = ?", p.Version, p.Name, p.digest, p.ID)
	if err != nil {
		return fmt.Errorf("update plan %s: %w", p.ID, err)
	}
	if err := s.insertVersion(ctx, tx, *p, doc, s.now()); err != nil {
		return err
	}
	return s.announce(ctx, tx, *p, modified)
}

// GetBackupPlan describes a plan: its current version, or another one, which a deleted plan keeps.
func (s *Service) GetBackupPlan(ctx context.Context, in *backupapi.GetBackupPlanInput) (*backupapi.GetBackupPlanOutput, error) {
	c := caller.From(ctx)
	runs := 0
	if in.MaxScheduledRunsPreview != nil {
		runs = *in.MaxScheduledRunsPreview
	}
	if runs < 0 || runs > maxPreview {
		return nil, invalid("MaxScheduledRunsPreview must be between 0 and %d: %d", maxPreview, runs)
	}
	var p Plan
	var doc *backupapi.BackupPlan
	err := s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		find, id := live, ""
		if in.VersionId != nil {
			find, id = read, *in.VersionId
		}
		if p, err = find(ctx, tx, c, in.BackupPlanId, ""); err != nil {
			return err
		}
		if id == "" {
			id = p.Version
		}
		_, doc, err = version(ctx, tx, p.ID, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backupapi.GetBackupPlanOutput{
		BackupPlanArn: new(p.ARN()), BackupPlanId: &p.ID, CreationDate: &p.CreatedAt, CreatorRequestId: some(p.CreatorRequestID),
		DeletionDate: some(p.DeletedAt), LastExecutionDate: some(p.ExecutedAt), VersionId: or(in.VersionId, p.Version),
		BackupPlan: doc, AdvancedBackupSettings: doc.AdvancedBackupSettings,
	}
	doc.AdvancedBackupSettings = nil // they stand outside of the document
	if runs > 0 && p.DeletedAt.IsZero() {
		out.ScheduledRunsPreview, err = preview(doc, s.now(), runs)
	}
	return out, err
}

// DeleteBackupPlan marks a plan as deleted. Its versions stay, and so do its jobs and recovery points.
func (s *Service) DeleteBackupPlan(ctx context.Context, in *backupapi.DeleteBackupPlanInput) (*backupapi.DeleteBackupPlanOutput, error) {
	c := caller.From(ctx)
	var p Plan
	err := s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if _, err = addPlans(ctx, tx, c.Account, c.Region, -1); err != nil {
			return err
		}
		if p, err = live(ctx, tx, c, in.BackupPlanId, tx.ForUpdate()); err != nil {
			return err
		}
		return s.remove(ctx, tx, &p)
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.DeleteBackupPlanOutput{
		BackupPlanArn: new(p.ARN()), BackupPlanId: &p.ID, DeletionDate: &p.DeletedAt, VersionId: &p.Version,
	}, nil
}

func (s *Service) remove(ctx context.Context, tx *meta.Tx, p *Plan) error {
	var selections int
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM plan_selection WHERE plan_id = ?", p.ID).Scan(&selections)
	if err != nil {
		return fmt.Errorf("count selections: %w", err)
	}
	if selections > 0 {
		return backupapi.InvalidRequestExceptionf("Related backup plan selections must be deleted prior to backup plan deletion")
	}
	p.DeletedAt = s.now()
	if _, err := tx.Exec(ctx, "UPDATE plan SET deleted_at = ? WHERE id = ?", meta.Micros(p.DeletedAt), p.ID); err != nil {
		return fmt.Errorf("delete plan %s: %w", p.ID, err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM plan_rule WHERE plan_id = ?", p.ID); err != nil {
		return fmt.Errorf("delete rules of plan %s: %w", p.ID, err)
	}
	if err := s.o.Tags.DropTagsTx(ctx, tx, p.Account, p.ARN()); err != nil {
		return err
	}
	return s.announce(ctx, tx, *p, deleted)
}

// TaggableTx reports whether a live plan of the account has the ARN. It stays until the transaction ends.
func (s *Service) TaggableTx(ctx context.Context, tx *meta.Tx, account, arn string) (bool, error) {
	var n int
	err := tx.QueryRow(ctx, `SELECT 1 FROM plan WHERE account = ? AND deleted_at = 0
		AND 'arn:aws:backup:' || region || ':' || account || ':backup-plan:' || id = ? AND id = ?`+tx.ForUpdate(),
		account, arn, arn[max(0, len(arn)-36):]).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
