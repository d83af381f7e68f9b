package plan_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/tag"
)

const role = "arn:aws:iam::000000000000:role/backup"

// world answers what a plan asks of others: the vault home exists, and roles are usable unless their name says otherwise.
type world struct{}

func (world) VaultUUIDTx(_ context.Context, _ *meta.Tx, _, _, name string) (string, error) {
	if name != "home" {
		return "", backupapi.ResourceNotFoundExceptionf("Backup vault %s does not exist", name)
	}
	return "uuid", nil
}

func (world) CheckLifecycle(l *backupapi.Lifecycle) error {
	if l != nil && l.DeleteAfterDays != nil && *l.DeleteAfterDays == 0 {
		return backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. No days")
	}
	return nil
}

func (world) RoleUsable(_ context.Context, _, role string) (bool, error) {
	return !strings.HasSuffix(role, "untrusting"), nil
}

func (world) RoleMay(_ context.Context, _, role string, _ []caller.Access) (string, error) {
	if strings.HasSuffix(role, "weak") {
		return "not allowed", nil
	}
	return "", nil
}

func (world) TagsChangedTx(context.Context, *meta.Tx, string, string) error      { return nil }
func (world) TaggableTx(context.Context, *meta.Tx, string, string) (bool, error) { return true, nil }
func (world) TagsChangeable(context.Context, string, string) error               { return nil }

type kit struct {
	*plan.Service
	tags   *tag.Service
	events *events.Service
	now    time.Time
}

func run(t *testing.T, test func(t *testing.T, ctx context.Context, k *kit)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, tag.Migrations(), plan.Migrations(), events.Migrations())
		pager := restjson.NewPager([]byte("key"))
		k := &kit{tags: tag.New(db, world{}, pager), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		k.events = events.New(events.Options{DB: db, Now: func() time.Time { return k.now }})
		k.Service = plan.New(plan.Options{DB: db, Events: k.events, Tags: k.tags, CheckTags: tag.Check, Vaults: world{}, Roles: world{}, Pager: pager,
			ExportKey: []byte("export"), Now: func() time.Time { return k.now }, Quota: 5})
		test(t, caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"}), k)
	})
}

// daily is a plan with one rule, which says as little as possible.
func daily(name string) backupapi.BackupPlanInput {
	return backupapi.BackupPlanInput{BackupPlanName: name,
		Rules: []backupapi.BackupRuleInput{{RuleName: "daily", TargetBackupVaultName: "home"}}}
}

func (k *kit) create(t *testing.T, ctx context.Context, doc backupapi.BackupPlanInput, token string) *backupapi.CreateBackupPlanOutput {
	t.Helper()
	k.now = k.now.Add(time.Second)
	out, err := k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: doc, CreatorRequestId: &token})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (k *kit) get(t *testing.T, ctx context.Context, id string, version *string) *backupapi.GetBackupPlanOutput {
	t.Helper()
	out, err := k.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: id, VersionId: version})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wants checks the type and a part of the text of an API error.
func wants[E error](t *testing.T, what string, err error, text string) {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok || !strings.Contains(e.Error(), text) {
		t.Errorf("%s = %v, want %T with %q", what, err, *new(E), text)
	}
}

func TestPlan_ShowsItsDefaults(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		doc := daily("servers")
		doc.AdvancedBackupSettings = []backupapi.AdvancedBackupSetting{
			{ResourceType: new("S3"), BackupOptions: map[string]string{"BackupACLs": "disabled"}}}
		made := k.create(t, ctx, doc, "token")
		got := k.get(t, ctx, *made.BackupPlanId, nil)
		if _, err := uuid.Parse(*got.BackupPlan.Rules[0].RuleId); err != nil {
			t.Error(err)
		}
		want := &backupapi.BackupPlan{BackupPlanName: "servers", Rules: []backupapi.BackupRule{{
			RuleName: "daily", TargetBackupVaultName: "home", ScheduleExpression: new("cron(0 5 ? * * *)"),
			ScheduleExpressionTimezone: new("Etc/UTC"), StartWindowMinutes: new(int64(480)),
			CompletionWindowMinutes: new(int64(10080)), RuleId: got.BackupPlan.Rules[0].RuleId,
		}}}
		if diff := cmp.Diff(want, got.BackupPlan); diff != "" {
			t.Errorf("GetBackupPlan (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(doc.AdvancedBackupSettings, got.AdvancedBackupSettings); diff != "" {
			t.Errorf("AdvancedBackupSettings (-want +got):\n%s", diff)
		}
		if want := "arn:aws:backup:us-east-1:000000000000:backup-plan:" + *made.BackupPlanId; *got.BackupPlanArn != want {
			t.Errorf("ARN %s, want %s", *got.BackupPlanArn, want)
		}
		text, err := base64.RawStdEncoding.DecodeString(*made.VersionId)
		if _, bad := uuid.Parse(string(text)); err != nil || bad != nil || len(*made.VersionId) != 48 {
			t.Errorf("VersionId %q is not a UUID in base64", *made.VersionId)
		}
	})
}

func TestCreateBackupPlan_Repeated(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		first := k.create(t, ctx, daily("a"), "one")
		if again := k.create(t, ctx, daily("a"), "one"); *again.BackupPlanId != *first.BackupPlanId {
			t.Errorf("the same request made another plan")
		}
		_, err := k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: daily("a"), CreatorRequestId: new("two")})
		wants[*backupapi.AlreadyExistsException](t, "the same document", err, "Backup plan with the same plan document already exists")
		if e, ok := errors.AsType[*backupapi.AlreadyExistsException](err); !ok || e.Arn != *first.BackupPlanArn || e.CreatorRequestId != "one" {
			t.Errorf("error %+v names neither the plan nor its token", e)
		}
		_, err = k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: daily("b"), CreatorRequestId: new("one")})
		wants[*backupapi.AlreadyExistsException](t, "the same token", err, "same CreatorRequestId")
		_, err = k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: daily("b"), CreatorRequestId: new("o/o")})
		wants[*backupapi.InvalidParameterValueException](t, "a bad token", err, "CreatorRequestId")
		// Only plans that live are in the way, and only the document counts, not the name.
		doc := daily("a")
		doc.Rules[0].StartWindowMinutes = new(int64(60))
		k.create(t, ctx, doc, "three")
		if _, err := k.DeleteBackupPlan(ctx, &backupapi.DeleteBackupPlanInput{BackupPlanId: *first.BackupPlanId}); err != nil {
			t.Fatal(err)
		}
		if again := k.create(t, ctx, daily("a"), "one"); *again.BackupPlanId == *first.BackupPlanId {
			t.Errorf("a deleted plan came back")
		}
		for i := range 3 {
			k.create(t, ctx, daily(fmt.Sprint("more", i)), fmt.Sprint("more", i))
		}
		_, err = k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: daily("z")})
		wants[*backupapi.LimitExceededException](t, "a sixth plan", err, "limit of 5 backup plans")
	})
}

func TestPlan_Refuses(t *testing.T) {
	many := func(n int) []backupapi.BackupRuleInput {
		var rules []backupapi.BackupRuleInput
		for i := range n {
			rules = append(rules, backupapi.BackupRuleInput{RuleName: fmt.Sprint("r", i), TargetBackupVaultName: "home"})
		}
		return rules
	}
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		for _, c := range []struct {
			name   string
			change func(p *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput)
			text   string
		}{
			{"plan name", func(p *backupapi.BackupPlanInput, _ *backupapi.BackupRuleInput) { p.BackupPlanName = "a b" }, "BackupPlanName"},
			{"no rules", func(p *backupapi.BackupPlanInput, _ *backupapi.BackupRuleInput) { p.Rules = nil }, "at least one rule"},
			{"same names", func(p *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) { p.Rules = append(p.Rules, *r) }, "same name"},
			{"rule name", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) { r.RuleName = "ä" }, "RuleName"},
			{"vault", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) { r.TargetBackupVaultName = "none" },
				"Rule daily: Backup vault none does not exist"},
			{"schedule", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.ScheduleExpression = new("rate(1 day)")
			},
				"Rule daily: ScheduleExpression rate(1 day): schedule expression: it must have the form cron("},
			{"too often", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.ScheduleExpression = new("cron(0/30 * ? * * *)")
			}, "once an hour at most"},
			{"zone", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.ScheduleExpressionTimezone = new("Mars/Olympus")
			},
				`"Mars/Olympus" is not a time zone`},
			{"local zone", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.ScheduleExpressionTimezone = new("Local")
			},
				`"Local" is not a time zone`},
			{"start window", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.StartWindowMinutes = new(int64(59))
			},
				"StartWindowMinutes must be between 60 and 52560000: 59"},
			{"completion window", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.CompletionWindowMinutes = new(int64(539))
			}, "at least 60 minutes longer"},
			{"lifecycle", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(0))}
			}, "Invalid lifecycle. No days"},
			{"continuous for long", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.EnableContinuousBackup, r.Lifecycle = new(true), &backupapi.Lifecycle{DeleteAfterDays: new(int64(36))}
			}, "between 1 and 35"},
			{"continuous and cold", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.EnableContinuousBackup = new(true)
				r.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(35)), MoveToColdStorageAfterDays: new(int64(1))}
			}, "MoveToColdStorageAfterDays is not possible"},
			{"reserved tag", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.RecoveryPointTags = map[string]string{"aws:x": "y"}
			}, "reserved"},
			{"copy", func(_ *backupapi.BackupPlanInput, r *backupapi.BackupRuleInput) {
				r.CopyActions = []backupapi.CopyAction{{DestinationBackupVaultArn: "arn:aws:s3:::bucket"}}
			}, "not the ARN of a backup vault"},
			{"options", func(p *backupapi.BackupPlanInput, _ *backupapi.BackupRuleInput) {
				p.AdvancedBackupSettings = []backupapi.AdvancedBackupSetting{{ResourceType: new("EFS")}}
			}, "must be EC2 or S3"},
			{"option", func(p *backupapi.BackupPlanInput, _ *backupapi.BackupRuleInput) {
				p.AdvancedBackupSettings = []backupapi.AdvancedBackupSetting{
					{ResourceType: new("EC2"), BackupOptions: map[string]string{"WindowsVSS": "yes"}}}
			}, "enabled or disabled"},
		} {
			doc := daily("a")
			c.change(&doc, &doc.Rules[0])
			_, err := k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: doc})
			wants[*backupapi.InvalidParameterValueException](t, c.name, err, c.text)
		}
		doc := daily("a")
		doc.Rules = many(11)
		_, err := k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: doc})
		wants[*backupapi.LimitExceededException](t, "eleven rules", err, "at most 10 rules")
		doc = daily("a")
		doc.Rules[0].IndexActions = []backupapi.IndexAction{{ResourceTypes: []string{"S3"}}}
		_, err = k.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{BackupPlan: doc})
		wants[*backupapi.InvalidRequestException](t, "indexes", err, "IndexActions is not supported")
		// What is at the limit is taken.
		doc = daily("a")
		doc.Rules = many(10)
		doc.Rules[0].StartWindowMinutes, doc.Rules[0].CompletionWindowMinutes = new(int64(60)), new(int64(120))
		doc.Rules[1].EnableContinuousBackup, doc.Rules[1].Lifecycle = new(true), &backupapi.Lifecycle{DeleteAfterDays: new(int64(35))}
		k.create(t, ctx, doc, "limit")
	})
}

func TestUpdateBackupPlan_AddsAVersion(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		made := k.create(t, ctx, daily("a"), "one")
		before := k.get(t, ctx, *made.BackupPlanId, nil)
		update := func(doc backupapi.BackupPlanInput) *backupapi.UpdateBackupPlanOutput {
			k.now = k.now.Add(time.Hour)
			out, err := k.UpdateBackupPlan(ctx, &backupapi.UpdateBackupPlanInput{BackupPlanId: *made.BackupPlanId, BackupPlan: doc})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		if same := update(daily("a")); *same.VersionId != *made.VersionId {
			t.Errorf("an equal document made a new version")
		}
		doc := daily("b")
		doc.Rules[0].ScheduleExpression = new("cron(0 6 ? * * *)")
		doc.Rules = append(doc.Rules, backupapi.BackupRuleInput{RuleName: "new", TargetBackupVaultName: "home"})
		changed := update(doc)
		after := k.get(t, ctx, *made.BackupPlanId, nil)
		if *changed.VersionId == *made.VersionId || *after.VersionId != *changed.VersionId || after.BackupPlan.BackupPlanName != "b" {
			t.Errorf("version %s of %q after an update, want %s of b", *after.VersionId, after.BackupPlan.BackupPlanName, *changed.VersionId)
		}
		if *after.BackupPlan.Rules[0].RuleId != *before.BackupPlan.Rules[0].RuleId {
			t.Errorf("a rule of the same name got another id")
		}
		if *after.BackupPlan.Rules[1].RuleId == *before.BackupPlan.Rules[0].RuleId {
			t.Errorf("two rules have the same id")
		}
		old := k.get(t, ctx, *made.BackupPlanId, made.VersionId)
		if diff := cmp.Diff(before.BackupPlan, old.BackupPlan); diff != "" {
			t.Errorf("the old version changed (-want +got):\n%s", diff)
		}
		list, err := k.ListBackupPlanVersions(ctx, &backupapi.ListBackupPlanVersionsInput{BackupPlanId: *made.BackupPlanId, MaxResults: new(1)})
		if err != nil || len(list.BackupPlanVersionsList) != 1 || *list.BackupPlanVersionsList[0].VersionId != *changed.VersionId {
			t.Fatalf("first page of versions: %+v, %v", list, err)
		}
		list, err = k.ListBackupPlanVersions(ctx, &backupapi.ListBackupPlanVersionsInput{
			BackupPlanId: *made.BackupPlanId, MaxResults: new(1), NextToken: list.NextToken})
		if err != nil || *list.BackupPlanVersionsList[0].VersionId != *made.VersionId || list.NextToken != nil {
			t.Errorf("second page of versions: %+v, %v", list, err)
		}
		_, err = k.UpdateBackupPlan(ctx, &backupapi.UpdateBackupPlanInput{BackupPlanId: "none", BackupPlan: doc})
		wants[*backupapi.ResourceNotFoundException](t, "update of no plan", err, "Failed reading Backup plan with provided version")
		_, err = k.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: *made.BackupPlanId, VersionId: new("none")})
		wants[*backupapi.ResourceNotFoundException](t, "no version", err, "Failed reading Backup plan with provided version")
	})
}

func TestDeleteBackupPlan(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		made := k.create(t, ctx, daily("a"), "one")
		other := k.create(t, ctx, daily("b"), "two")
		sel, err := k.CreateBackupSelection(ctx, &backupapi.CreateBackupSelectionInput{BackupPlanId: *made.BackupPlanId,
			BackupSelection: backupapi.BackupSelection{SelectionName: "all", IamRoleArn: role}})
		if err != nil {
			t.Fatal(err)
		}
		in := &backupapi.DeleteBackupPlanInput{BackupPlanId: *made.BackupPlanId}
		_, err = k.DeleteBackupPlan(ctx, in)
		wants[*backupapi.InvalidRequestException](t, "deletion with a selection", err,
			"Related backup plan selections must be deleted prior to backup plan deletion")
		_, err = k.DeleteBackupSelection(ctx, &backupapi.DeleteBackupSelectionInput{BackupPlanId: *made.BackupPlanId, SelectionId: *sel.SelectionId})
		if err != nil {
			t.Fatal(err)
		}
		gone, err := k.DeleteBackupPlan(ctx, in)
		if err != nil || *gone.VersionId != *made.VersionId || !gone.DeletionDate.Equal(k.now) {
			t.Errorf("DeleteBackupPlan = %+v, %v", gone, err)
		}
		_, err = k.DeleteBackupPlan(ctx, in)
		wants[*backupapi.ResourceNotFoundException](t, "second deletion", err, "Failed reading")
		_, err = k.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: *made.BackupPlanId})
		wants[*backupapi.ResourceNotFoundException](t, "a deleted plan", err, "Failed reading")
		if old := k.get(t, ctx, *made.BackupPlanId, made.VersionId); old.DeletionDate == nil || old.BackupPlan.BackupPlanName != "a" {
			t.Errorf("the version of a deleted plan: %+v", old)
		}
		for deleted, want := range map[bool][]string{false: {*other.BackupPlanId}, true: {*other.BackupPlanId, *made.BackupPlanId}} {
			if diff := cmp.Diff(want, k.list(t, ctx, deleted, 1)); diff != "" {
				t.Errorf("plans with deleted ones %v (-want +got):\n%s", deleted, diff)
			}
		}
	})
}

// list returns the ids of all plans, in pages.
func (k *kit) list(t *testing.T, ctx context.Context, deleted bool, limit int) (ids []string) {
	t.Helper()
	in := &backupapi.ListBackupPlansInput{IncludeDeleted: &deleted, MaxResults: &limit}
	for {
		out, err := k.ListBackupPlans(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range out.BackupPlansList {
			ids = append(ids, *p.BackupPlanId)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return ids
		}
	}
}

func TestGetBackupPlan_PreviewsRuns(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		doc := daily("a")
		doc.Rules = append(doc.Rules, backupapi.BackupRuleInput{RuleName: "pacific", TargetBackupVaultName: "home",
			ScheduleExpression: new("cron(0 1 ? * * *)"), ScheduleExpressionTimezone: new("America/Los_Angeles")})
		made := k.create(t, ctx, doc, "one")
		k.now = time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
		out, err := k.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: *made.BackupPlanId, MaxScheduledRunsPreview: new(5)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range out.ScheduledRunsPreview {
			got = append(got, r.ExecutionTime.Format("01-02T15:04"))
		}
		want := []string{"03-07T05:00", "03-07T09:00", "03-08T05:00", "03-08T09:00", "03-09T05:00"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("preview (-want +got):\n%s", diff)
		}
		_, err = k.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: *made.BackupPlanId, MaxScheduledRunsPreview: new(11)})
		wants[*backupapi.InvalidParameterValueException](t, "eleven runs", err, "between 0 and 10")
	})
}

func TestTemplates(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		in := &backupapi.ListBackupPlanTemplatesInput{MaxResults: new(3)}
		first, err := k.ListBackupPlanTemplates(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		in.NextToken = first.NextToken
		second, err := k.ListBackupPlanTemplates(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		all := append(first.BackupPlanTemplatesList, second.BackupPlanTemplatesList...)
		if len(all) != 4 || second.NextToken != nil {
			t.Fatalf("%d templates, want 4", len(all))
		}
		for i, m := range all {
			out, err := k.GetBackupPlanFromTemplate(ctx, &backupapi.GetBackupPlanFromTemplateInput{BackupPlanTemplateId: *m.BackupPlanTemplateId})
			if err != nil || out.BackupPlanDocument.BackupPlanName != *m.BackupPlanTemplateName {
				t.Errorf("template %d: %+v, %v", i, out, err)
			}
		}
		_, err = k.GetBackupPlanFromTemplate(ctx, &backupapi.GetBackupPlanFromTemplateInput{BackupPlanTemplateId: "none"})
		wants[*backupapi.ResourceNotFoundException](t, "no template", err, "none does not exist")
	})
}

func TestExportedPlan_IsReadAgain(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		doc := daily("a")
		doc.Rules[0].Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(35))}
		made := k.create(t, ctx, doc, "one")
		exported, err := k.ExportBackupPlanTemplate(ctx, &backupapi.ExportBackupPlanTemplateInput{BackupPlanId: *made.BackupPlanId})
		if err != nil {
			t.Fatal(err)
		}
		text := *exported.BackupPlanTemplateJson
		read := func(text string) (*backupapi.GetBackupPlanFromJSONOutput, error) {
			return k.GetBackupPlanFromJSON(ctx, &backupapi.GetBackupPlanFromJSONInput{BackupPlanTemplateJson: text})
		}
		got, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		want := k.get(t, ctx, *made.BackupPlanId, nil).BackupPlan
		want.Rules[0].RuleId = nil
		if diff := cmp.Diff(want, got.BackupPlan); diff != "" {
			t.Errorf("GetBackupPlanFromJSON (-want +got):\n%s", diff)
		}
		_, err = read(strings.Replace(text, `"DeleteAfterDays":35`, `"DeleteAfterDays":36`, 1))
		wants[*backupapi.InvalidRequestException](t, "a changed text", err, "has been changed")
		if _, err := read(`{"BackupPlanName": "own", "Rules": [{"RuleName": "r", "TargetBackupVaultName": "home"}]}`); err != nil {
			t.Errorf("a document without a signature: %v", err)
		}
		for _, bad := range []string{"", "[]", "{}", `{"BackupPlanName": "own", "Rules": [{"RuleName": "r"}]}`,
			`{"BackupPlanName": "own", "Rules": [{"RuleName": "r", "TargetBackupVaultName": "none"}]}`, `{"BackupPlanName": 1}`} {
			_, err := read(bad)
			wants[*backupapi.InvalidParameterValueException](t, bad, err, "")
		}
	})
}
