package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/cron"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

// What a rule says that leaves it out; a plan shows these values.
const (
	defaultSchedule   = "cron(0 5 ? * * *)"
	defaultTimezone   = "Etc/UTC"
	defaultStart      = 480   // minutes
	defaultCompletion = 10080 // minutes
)

// Windows of a rule, in minutes. A completion window ends an hour after the start window, or later.
const (
	minStart  = 60
	minAfter  = 60
	maxWindow = 52_560_000
)

// maxContinuousDays is how long a continuous backup is kept at most.
const maxContinuousDays = 35

var (
	planName = wire.NewPattern(`[a-zA-Z0-9\-_.]{1,200}`)
	ruleName = wire.NewPattern(`[a-zA-Z0-9\-_.]{1,50}`) // and the names of selections
)

// planShape describes the documents.
func planShape() *wire.Shape { return member(backupapi.GetBackupPlan.Output, "BackupPlan") }

func member(s *wire.Shape, name string) *wire.Shape { return s.Members[s.Member(name)].Shape }

func encode(doc *backupapi.BackupPlan) string { return string(wire.AppendJSON(nil, planShape(), doc)) }

func decode(text string) (*backupapi.BackupPlan, error) {
	doc := new(backupapi.BackupPlan)
	if err := wire.ReadJSONLoosely([]byte(text), planShape(), doc); err != nil {
		return nil, fmt.Errorf("document of a plan: %w", err)
	}
	return doc, nil
}

// digest is equal for documents that differ in the ids of their rules alone.
func digest(doc *backupapi.BackupPlan) string {
	plain := *doc
	plain.Rules = slices.Clone(doc.Rules)
	for i := range plain.Rules {
		plain.Rules[i].RuleId = nil
	}
	sum := sha256.Sum256(wire.AppendJSON(nil, planShape(), &plain))
	return hex.EncodeToString(sum[:])
}

// document checks what a client sent and makes the document of it: with all defaults, and an id for each rule, which a
// rule of the same name keeps.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
func (s *Service) document(in *backupapi.BackupPlanInput, old *backupapi.BackupPlan) (*backupapi.BackupPlan, error) {
	if !planName.MatchString(in.BackupPlanName) {
		return nil, invalid("BackupPlanName must be 1 to 200 letters, digits and -_. : %q", in.BackupPlanName)
	}
	if len(in.ScanSettings) > 0 {
		return nil, refused("ScanSettings", "scans nothing for malware")
	}
	if len(in.Rules) == 0 {
		return nil, invalid("Rules: a backup plan needs at least one rule")
	}
	if len(in.Rules) > maxRules {
		return nil, backupapi.LimitExceededExceptionf("Rules: a backup plan has at most %d rules, got %d", maxRules, len(in.Rules))
	}
	doc := &backupapi.BackupPlan{BackupPlanName: in.BackupPlanName, AdvancedBackupSettings: in.AdvancedBackupSettings}
	if err := checkAdvanced(in.AdvancedBackupSettings); err != nil {
		return nil, err
	}
	for i := range in.Rules {
		r, err := s.rule(&in.Rules[i])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(doc.Rules, func(o backupapi.BackupRule) bool { return o.RuleName == r.RuleName }) {
			return nil, invalid("RuleName %s: two rules of a backup plan cannot have the same name", r.RuleName)
		}
		r.RuleId = new(ruleID(old, r.RuleName))
		doc.Rules = append(doc.Rules, *r)
	}
	return doc, nil
}

func ruleID(old *backupapi.BackupPlan, name string) string {
	if old != nil {
		for _, r := range old.Rules {
			if r.RuleName == name && r.RuleId != nil {
				return *r.RuleId
			}
		}
	}
	return uuid.NewString()
}

// rule checks a rule and fills in what it leaves out.
func (s *Service) rule(in *backupapi.BackupRuleInput) (*backupapi.BackupRule, error) {
	r := &backupapi.BackupRule{
		RuleName: in.RuleName, TargetBackupVaultName: in.TargetBackupVaultName, CopyActions: in.CopyActions,
		EnableContinuousBackup: in.EnableContinuousBackup, Lifecycle: in.Lifecycle, RecoveryPointTags: in.RecoveryPointTags,
		ScheduleExpression: or(in.ScheduleExpression, defaultSchedule), ScheduleExpressionTimezone: or(in.ScheduleExpressionTimezone, defaultTimezone),
		StartWindowMinutes: or(in.StartWindowMinutes, defaultStart), CompletionWindowMinutes: or(in.CompletionWindowMinutes, defaultCompletion),
	}
	switch {
	case !ruleName.MatchString(in.RuleName):
		return nil, invalid("RuleName must be 1 to 50 letters, digits and -_. : %q", in.RuleName)
	case in.TargetLogicallyAirGappedBackupVaultArn != nil:
		return nil, refused("TargetLogicallyAirGappedBackupVaultArn", "has no such vaults")
	case len(in.IndexActions) > 0:
		return nil, refused("IndexActions", "makes no indexes of recovery points")
	case len(in.ScanActions) > 0:
		return nil, refused("ScanActions", "scans nothing for malware")
	}
	return r, errorOf(r.RuleName, checkSchedule(r), checkWindows(r), s.checkRetention(r), s.checkTags(r), s.checkCopies(r))
}

// errorOf is the first of the errors, with the rule's name in it.
func errorOf(rule string, errs ...error) error {
	for _, err := range errs {
		if bad, ok := errors.AsType[*backupapi.InvalidParameterValueException](err); ok {
			return invalid("Rule %s: %s", rule, bad.Message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func or[T any](v *T, missing T) *T {
	if v != nil {
		return v
	}
	return &missing
}

func checkSchedule(r *backupapi.BackupRule) error {
	schedule, _, err := ScheduleOf(r)
	if err != nil {
		return invalid("%v", err)
	}
	if schedule.PerHour() != 1 {
		return invalid("ScheduleExpression %s: a rule backs up once an hour at most", *r.ScheduleExpression)
	}
	return nil
}

// ScheduleOf reads the schedule of a rule and its time zone.
func ScheduleOf(r *backupapi.BackupRule) (cron.Schedule, *time.Location, error) {
	return readSchedule(*r.ScheduleExpression, *r.ScheduleExpressionTimezone)
}

func readSchedule(expression, timezone string) (cron.Schedule, *time.Location, error) {
	schedule, err := cron.Parse(expression)
	if err != nil {
		return schedule, nil, fmt.Errorf("ScheduleExpression %s: %w", expression, err)
	}
	zone, err := time.LoadLocation(timezone)
	if err != nil || timezone == "" || timezone == "Local" {
		return schedule, nil, fmt.Errorf("ScheduleExpressionTimezone %q is not a time zone of the IANA database, such as Europe/Berlin", timezone)
	}
	return schedule, zone, nil
}

func checkWindows(r *backupapi.BackupRule) error {
	start, completion := *r.StartWindowMinutes, *r.CompletionWindowMinutes
	switch {
	case start < minStart || start > maxWindow:
		return invalid("StartWindowMinutes must be between %d and %d: %d", minStart, maxWindow, start)
	case completion > maxWindow:
		return invalid("CompletionWindowMinutes must be at most %d: %d", maxWindow, completion)
	case completion < start+minAfter:
		return invalid("CompletionWindowMinutes must be at least %d minutes longer than StartWindowMinutes, which is %d: %d",
			minAfter, start, completion)
	}
	return nil
}

func (s *Service) checkRetention(r *backupapi.BackupRule) error {
	if err := s.o.Vaults.CheckLifecycle(r.Lifecycle); err != nil || r.Lifecycle == nil {
		return err
	}
	if r.EnableContinuousBackup == nil || !*r.EnableContinuousBackup {
		return nil
	}
	if days := r.Lifecycle.DeleteAfterDays; days == nil || *days < 1 || *days > maxContinuousDays {
		return invalid("Invalid lifecycle. DeleteAfterDays must be between 1 and %d for a rule with EnableContinuousBackup", maxContinuousDays)
	}
	if cold := r.Lifecycle.MoveToColdStorageAfterDays; cold != nil && *cold > 0 {
		return invalid("Invalid lifecycle. MoveToColdStorageAfterDays is not possible for a rule with EnableContinuousBackup")
	}
	return nil
}

func (s *Service) checkTags(r *backupapi.BackupRule) error {
	if n := len(r.RecoveryPointTags); n > maxRuleTags {
		return invalid("RecoveryPointTags: a rule adds at most %d tags, got %d", maxRuleTags, n)
	}
	return s.o.CheckTags(r.RecoveryPointTags)
}

func (s *Service) checkCopies(r *backupapi.BackupRule) error {
	if n := len(r.CopyActions); n > maxCopyActions {
		return invalid("CopyActions: a rule has at most %d, got %d", maxCopyActions, n)
	}
	for _, c := range r.CopyActions {
		a, err := arn.Parse(c.DestinationBackupVaultArn)
		if err != nil || a.Service != "backup" || !strings.HasPrefix(a.Resource, "backup-vault:") {
			return invalid("DestinationBackupVaultArn is not the ARN of a backup vault: %s", c.DestinationBackupVaultArn)
		}
		if err := s.o.Vaults.CheckLifecycle(c.Lifecycle); err != nil {
			return err
		}
	}
	return nil
}

// checkAdvanced checks options of types of resources.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_AdvancedBackupSetting.html.
func checkAdvanced(settings []backupapi.AdvancedBackupSetting) error {
	options := map[string][]string{"EC2": {"WindowsVSS"}, "S3": {"BackupACLs", "BackupObjectTags"}}
	for _, a := range settings {
		if a.ResourceType == nil || options[*a.ResourceType] == nil {
			return invalid("AdvancedBackupSettings: ResourceType must be EC2 or S3")
		}
		for name, value := range a.BackupOptions {
			if !slices.Contains(options[*a.ResourceType], name) {
				return invalid("AdvancedBackupSettings: %s has no option %s", *a.ResourceType, name)
			}
			if value != "enabled" && value != "disabled" {
				return invalid("AdvancedBackupSettings: %s must be enabled or disabled: %q", name, value)
			}
		}
	}
	return nil
}

// checkTargetsTx checks that the vaults exist that rules back up into.
func (s *Service) checkTargetsTx(ctx context.Context, tx *meta.Tx, account, region string, doc *backupapi.BackupPlan) error {
	for _, r := range doc.Rules {
		_, err := s.o.Vaults.VaultUUIDTx(ctx, tx, account, region, r.TargetBackupVaultName)
		if missing, ok := errors.AsType[*backupapi.ResourceNotFoundException](err); ok {
			return invalid("Rule %s: %s", r.RuleName, missing.Message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return backupapi.InvalidParameterValueExceptionf(format, args...)
}

// refused is the answer to a member that is not honoured.
func refused(member, why string) error {
	return backupapi.InvalidRequestExceptionf("%s is not supported: this version of Lockfast %s", member, why)
}
