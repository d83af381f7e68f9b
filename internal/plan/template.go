package plan

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// template is a plan to begin with.
type template struct {
	id, name string
	rules    []backupapi.BackupRule
}

// templates returns the plans that AWS Backup offers, under the names it gives them. The id of the first is AWS's.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html.
func templates() []template {
	daily := templateRule("DailyBackups", defaultSchedule, 35)
	weekly := templateRule("WeeklyBackups", "cron(0 5 ? * 7 *)", 90)
	monthly := func(days int64) backupapi.BackupRule {
		return templateRule("MonthlyBackups", "cron(0 5 1 * ? *)", days)
	}
	return []template{
		{"87c0c1ef-254d-4180-8fef-2e76a2c38aaa", "Daily-35day-Retention", []backupapi.BackupRule{daily}},
		{"87c0c1ef-254d-4180-8fef-2e76a2c38aab", "Daily-Monthly-1yr-Retention", []backupapi.BackupRule{daily, monthly(365)}},
		{"87c0c1ef-254d-4180-8fef-2e76a2c38aac", "Daily-Weekly-Monthly-5yr-Retention", []backupapi.BackupRule{daily, weekly, monthly(5 * 365)}},
		{"87c0c1ef-254d-4180-8fef-2e76a2c38aad", "Daily-Weekly-Monthly-7yr-Retention", []backupapi.BackupRule{daily, weekly, monthly(7 * 365)}},
	}
}

func templateRule(name, schedule string, days int64) backupapi.BackupRule {
	return backupapi.BackupRule{
		RuleName: name, ScheduleExpression: &schedule, StartWindowMinutes: new(int64(defaultStart)),
		CompletionWindowMinutes: new(int64(defaultCompletion)), TargetBackupVaultName: "Default",
		Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: &days},
	}
}

// ListBackupPlanTemplates lists the templates.
func (s *Service) ListBackupPlanTemplates(ctx context.Context, in *backupapi.ListBackupPlanTemplatesInput) (*backupapi.ListBackupPlanTemplatesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, backupapi.ListBackupPlanTemplates, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupPlanTemplatesOutput{BackupPlanTemplatesList: []backupapi.BackupPlanTemplatesListMember{}}
	list := templates()
	if page.After != nil {
		list = list[1+slices.IndexFunc(list, func(t template) bool { return t.id == page.After[0] }):]
	}
	if len(list) > page.Limit {
		list = list[:page.Limit]
		out.NextToken = page.Next(list[page.Limit-1].id)
	}
	for _, t := range list {
		out.BackupPlanTemplatesList = append(out.BackupPlanTemplatesList, backupapi.BackupPlanTemplatesListMember{
			BackupPlanTemplateId: &t.id, BackupPlanTemplateName: &t.name,
		})
	}
	return out, nil
}

// GetBackupPlanFromTemplate returns the document of a template. Its rules back up into the vault "Default".
func (s *Service) GetBackupPlanFromTemplate(_ context.Context, in *backupapi.GetBackupPlanFromTemplateInput) (*backupapi.GetBackupPlanFromTemplateOutput, error) {
	for _, t := range templates() {
		if t.id == in.BackupPlanTemplateId {
			return &backupapi.GetBackupPlanFromTemplateOutput{
				BackupPlanDocument: &backupapi.BackupPlan{BackupPlanName: t.name, Rules: t.rules},
			}, nil
		}
	}
	return nil, backupapi.ResourceNotFoundExceptionf("Backup plan template %s does not exist", in.BackupPlanTemplateId)
}

// signature is the member of an exported document that shows that it was not changed.
const signature = "Signature"

// ExportBackupPlanTemplate returns the current document of a plan as a signed text.
func (s *Service) ExportBackupPlanTemplate(ctx context.Context, in *backupapi.ExportBackupPlanTemplateInput) (*backupapi.ExportBackupPlanTemplateOutput, error) {
	c := caller.From(ctx)
	var doc *backupapi.BackupPlan
	err := s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		p, err := live(ctx, tx, c, in.BackupPlanId, "")
		if err != nil {
			return err
		}
		_, doc, err = version(ctx, tx, p.ID, p.Version)
		return err
	})
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	if err := json.Unmarshal([]byte(encode(doc)), &plain); err != nil {
		return nil, err
	}
	if plain[signature], err = s.sign(plain); err != nil {
		return nil, err
	}
	text, err := json.Marshal(plain)
	return &backupapi.ExportBackupPlanTemplateOutput{BackupPlanTemplateJson: new(string(text))}, err
}

// sign returns the signature of a document without one.
func (s *Service) sign(document map[string]any) (string, error) {
	text, err := json.Marshal(document) // keys sorted
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, s.o.ExportKey)
	h.Write(text)
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// GetBackupPlanFromJSON reads a document: one that was exported, unchanged, or one that somebody wrote, which has no
// signature. It is checked as CreateBackupPlan checks it, and stored nowhere.
func (s *Service) GetBackupPlanFromJSON(ctx context.Context, in *backupapi.GetBackupPlanFromJSONInput) (*backupapi.GetBackupPlanFromJSONOutput, error) {
	plain := map[string]any{}
	if err := json.Unmarshal([]byte(in.BackupPlanTemplateJson), &plain); err != nil {
		return nil, invalid("BackupPlanTemplateJson is not a JSON object: %v", err)
	}
	if given, signed := plain[signature]; signed {
		delete(plain, signature)
		want, err := s.sign(plain)
		if err != nil {
			return nil, err
		}
		if text, ok := given.(string); !ok || !hmac.Equal([]byte(text), []byte(want)) {
			return nil, backupapi.InvalidRequestExceptionf("BackupPlanTemplateJson has been changed since it was exported; "+
				"without its member %s it is read as a document of your own", signature)
		}
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	shape := member(backupapi.CreateBackupPlan.Input, "BackupPlan")
	var plan backupapi.BackupPlanInput
	if err := wire.ReadJSON(text, shape, &plan); err != nil {
		return nil, invalid("BackupPlanTemplateJson: %v", err)
	}
	if err := wire.Validate(shape, &plan); err != nil {
		return nil, invalid("BackupPlanTemplateJson: %v", err)
	}
	doc, err := s.document(&plan, nil)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return s.checkTargetsTx(ctx, tx, c.Account, c.Region, doc)
	})
	for i := range doc.Rules {
		doc.Rules[i].RuleId = nil // nothing was stored
	}
	return &backupapi.GetBackupPlanFromJSONOutput{BackupPlan: doc}, err
}
