package plan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// Selection is the row of a selection.
type Selection struct {
	ID, PlanID       string
	CreatorRequestID string
	CreatedAt        time.Time
	Document         backupapi.BackupSelection

	request string
}

// Judge says whether the selection selects a resource, see [Judge].
func (s Selection) Judge(r Candidate, optedIn func(resourceType string) bool) Verdict {
	return Judge(&s.Document, r, optedIn)
}

func selectionShape() *wire.Shape {
	return member(backupapi.GetBackupSelection.Output, "BackupSelection")
}

const selectionColumns = "id, plan_id, document, creator_request_id, request, created_at"

func scanSelection(scan func(...any) error) (s Selection, err error) {
	var text string
	var created int64
	if err := scan(&s.ID, &s.PlanID, &text, &s.CreatorRequestID, &s.request, &created); err != nil {
		return s, err
	}
	s.CreatedAt = meta.FromMicros(created)
	if err := wire.ReadJSONLoosely([]byte(text), selectionShape(), &s.Document); err != nil {
		return s, fmt.Errorf("document of selection %s: %w", s.ID, err)
	}
	return s, nil
}

// selections reads selections of a plan; rest goes on behind its condition.
func selections(ctx context.Context, tx *meta.Tx, plan, rest string, args ...any) ([]Selection, error) {
	rows, err := tx.Query(ctx, "SELECT "+selectionColumns+" FROM plan_selection WHERE plan_id = ?"+rest, append([]any{plan}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("list selections: %w", err)
	}
	defer rows.Close()
	var all []Selection
	for rows.Next() {
		s, err := scanSelection(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list selections: %w", err)
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// CreateBackupSelection adds a selection to a plan. Repeating a call with its CreatorRequestId answers the selection that
// exists.
func (s *Service) CreateBackupSelection(ctx context.Context, in *backupapi.CreateBackupSelectionInput) (*backupapi.CreateBackupSelectionOutput, error) {
	c := caller.From(ctx)
	sel := Selection{ID: uuid.NewString(), PlanID: in.BackupPlanId, CreatedAt: s.now(), Document: in.BackupSelection,
		request: restjson.Fingerprint(backupapi.CreateBackupSelection, in)}
	if in.CreatorRequestId != nil {
		sel.CreatorRequestID = *in.CreatorRequestId
	}
	if err := checkCreator(sel.CreatorRequestID); err != nil {
		return nil, err
	}
	if err := checkSelection(&sel.Document); err != nil {
		return nil, err
	}
	sel.Document.ListOfTags = slices.Clone(sel.Document.ListOfTags)
	for i := range sel.Document.ListOfTags {
		sel.Document.ListOfTags[i].ConditionType = backupapi.ConditionTypeStringequals
	}
	if err := s.checkRole(ctx, c.Account, &sel.Document); err != nil {
		return nil, err
	}
	err := s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		sel, err = s.insertSelection(ctx, tx, c, sel)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.CreateBackupSelectionOutput{BackupPlanId: &sel.PlanID, CreationDate: &sel.CreatedAt, SelectionId: &sel.ID}, nil
}

// checkRole asks whether the service can act with the role, and whether the role lets it look for tags if it has to.
func (s *Service) checkRole(ctx context.Context, account string, doc *backupapi.BackupSelection) error {
	ok, err := s.o.Roles.RoleUsable(ctx, account, doc.IamRoleArn)
	if err == nil && !ok {
		err = invalid("IAM Role %s cannot be assumed by AWS Backup", doc.IamRoleArn)
	}
	if err != nil || !looksAtTags(doc) {
		return err
	}
	refusal, err := s.o.Roles.RoleMay(ctx, account, doc.IamRoleArn, caller.OnAll("tag:GetResources"))
	if err == nil && refusal != "" {
		err = invalid("IAM Role %s is not authorized to call tag:GetResources", doc.IamRoleArn)
	}
	return err
}

func looksAtTags(doc *backupapi.BackupSelection) bool {
	return len(doc.ListOfTags) > 0 || countConditions(doc.Conditions) > 0
}

func (s *Service) insertSelection(ctx context.Context, tx *meta.Tx, c caller.Caller, sel Selection) (Selection, error) {
	_, err := live(ctx, tx, c, sel.PlanID, tx.ForUpdate())
	if missing, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); ok {
		return sel, invalid("BackupPlanId: %s", missing.Message)
	}
	if err != nil {
		return sel, err
	}
	all, err := selections(ctx, tx, sel.PlanID, "")
	if err != nil {
		return sel, err
	}
	tags := 0
	for _, old := range all {
		switch same := sel.CreatorRequestID != "" && sel.CreatorRequestID == old.CreatorRequestID; {
		case same && old.request == sel.request:
			return old, nil
		case same:
			return sel, selectionExists(old, "Backup selection with the same CreatorRequestId already exists")
		case old.Document.SelectionName == sel.Document.SelectionName:
			return sel, selectionExists(old, "Backup selection with the same name already exists in this backup plan")
		}
		if looksAtTags(&old.Document) {
			tags++
		}
	}
	if len(all) >= maxSelections {
		return sel, backupapi.LimitExceededExceptionf("The limit of %d selections per backup plan is reached", maxSelections)
	}
	if tags >= maxTagSelections && looksAtTags(&sel.Document) {
		return sel, backupapi.LimitExceededExceptionf("The limit of %d selections with tags per backup plan is reached", maxTagSelections)
	}
	_, err = tx.Exec(ctx, "INSERT INTO plan_selection ("+selectionColumns+", name) VALUES (?, ?, ?, ?, ?, ?, ?)", sel.ID, sel.PlanID,
		string(wire.AppendJSON(nil, selectionShape(), &sel.Document)), sel.CreatorRequestID, sel.request, meta.Micros(sel.CreatedAt),
		sel.Document.SelectionName)
	if err != nil {
		return sel, fmt.Errorf("insert selection: %w", err)
	}
	return sel, nil
}

func selectionExists(old Selection, text string) error {
	err := backupapi.AlreadyExistsExceptionf("%s", text)
	err.CreatorRequestId = old.CreatorRequestID
	return err
}

// checkSelection checks what a client sent.
func checkSelection(doc *backupapi.BackupSelection) error {
	if !ruleName.MatchString(doc.SelectionName) {
		return invalid("SelectionName must be 1 to 50 letters, digits and -_. : %q", doc.SelectionName)
	}
	if err := checkPatterns("Resources", doc.Resources); err != nil {
		return err
	}
	if err := checkPatterns("NotResources", doc.NotResources); err != nil {
		return err
	}
	if n := len(doc.ListOfTags); n > maxConditions {
		return backupapi.LimitExceededExceptionf("ListOfTags: a selection has at most %d tags, got %d", maxConditions, n)
	}
	return checkConditions(doc.Conditions)
}

func checkPatterns(name string, patterns []string) error {
	plain, wild := 0, 0
	for _, p := range patterns {
		if p != "*" && !strings.HasPrefix(p, "arn:") {
			return invalid("%s: %q is neither an ARN nor *", name, p)
		}
		if strings.Contains(p, "*") {
			wild++
		} else {
			plain++
		}
	}
	if plain > maxPlainARNs || wild > maxWildcardARNs {
		return backupapi.LimitExceededExceptionf("%s: a selection has at most %d ARNs without and %d with wildcards, got %d and %d",
			name, maxPlainARNs, maxWildcardARNs, plain, wild)
	}
	return nil
}

func countConditions(c *backupapi.Conditions) int {
	if c == nil {
		return 0
	}
	return len(c.StringEquals) + len(c.StringLike) + len(c.StringNotEquals) + len(c.StringNotLike)
}

func checkConditions(c *backupapi.Conditions) error {
	if n := countConditions(c); n == 0 {
		return nil
	} else if n > maxConditions {
		return backupapi.LimitExceededExceptionf("Conditions: a selection has at most %d, got %d", maxConditions, n)
	}
	for _, list := range [][]backupapi.ConditionParameter{c.StringEquals, c.StringLike, c.StringNotEquals, c.StringNotLike} {
		for _, p := range list {
			switch {
			case p.ConditionKey == nil || p.ConditionValue == nil:
				return invalid("Conditions: ConditionKey and ConditionValue are both needed")
			case !strings.HasPrefix(*p.ConditionKey, tagPrefix) || *p.ConditionKey == tagPrefix:
				return invalid("Conditions: ConditionKey must be %s and the key of a tag: %q", tagPrefix, *p.ConditionKey)
			}
		}
	}
	return nil
}

// GetBackupSelection describes a selection.
func (s *Service) GetBackupSelection(ctx context.Context, in *backupapi.GetBackupSelectionInput) (*backupapi.GetBackupSelectionOutput, error) {
	c := caller.From(ctx)
	var sel Selection
	err := s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		sel, err = selection(ctx, tx, c, in.BackupPlanId, in.SelectionId)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.GetBackupSelectionOutput{BackupPlanId: &sel.PlanID, BackupSelection: &sel.Document, CreationDate: &sel.CreatedAt,
		CreatorRequestId: some(sel.CreatorRequestID), SelectionId: &sel.ID}, nil
}

// selection reads a selection of a live plan.
func selection(ctx context.Context, tx *meta.Tx, c caller.Caller, plan, id string) (Selection, error) {
	if _, err := live(ctx, tx, c, plan, ""); err != nil {
		return Selection{}, err
	}
	sel, err := scanSelection(tx.QueryRow(ctx, "SELECT "+selectionColumns+" FROM plan_selection WHERE plan_id = ? AND id = ?", plan, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return sel, backupapi.ResourceNotFoundExceptionf("Backup selection %s does not exist in backup plan %s", id, plan)
	}
	return sel, err
}

// DeleteBackupSelection removes a selection. Jobs that it has made go on.
func (s *Service) DeleteBackupSelection(ctx context.Context, in *backupapi.DeleteBackupSelectionInput) (*backupapi.DeleteBackupSelectionOutput, error) {
	c := caller.From(ctx)
	return nil, s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		sel, err := selection(ctx, tx, c, in.BackupPlanId, in.SelectionId)
		if err == nil {
			_, err = tx.Exec(ctx, "DELETE FROM plan_selection WHERE id = ?", sel.ID)
		}
		return err
	})
}

// ListBackupSelections lists the selections of a plan by name.
func (s *Service) ListBackupSelections(ctx context.Context, in *backupapi.ListBackupSelectionsInput) (*backupapi.ListBackupSelectionsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, backupapi.ListBackupSelections, in)
	if err != nil {
		return nil, err
	}
	after := ""
	if page.After != nil {
		after = page.After[0]
	}
	c := caller.From(ctx)
	var all []Selection
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := live(ctx, tx, c, in.BackupPlanId, ""); err != nil {
			return err
		}
		all, err = selections(ctx, tx, in.BackupPlanId, " AND name > ? ORDER BY name LIMIT ?", after, page.Limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupSelectionsOutput{BackupSelectionsList: []backupapi.BackupSelectionsListMember{}}
	if len(all) > page.Limit {
		all = all[:page.Limit]
		out.NextToken = page.Next(all[page.Limit-1].Document.SelectionName)
	}
	for _, sel := range all {
		out.BackupSelectionsList = append(out.BackupSelectionsList, backupapi.BackupSelectionsListMember{
			BackupPlanId: &sel.PlanID, CreationDate: &sel.CreatedAt, CreatorRequestId: some(sel.CreatorRequestID),
			IamRoleArn: &sel.Document.IamRoleArn, SelectionId: &sel.ID, SelectionName: &sel.Document.SelectionName,
		})
	}
	return out, nil
}
