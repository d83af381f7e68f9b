package plan

import (
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Routes registers the operations. The actions and resources are those of
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbackup.html.
func (s *Service) Routes(r *restjson.Router) {
	restjson.Handle(r, backupapi.CreateBackupPlan, s.CreateBackupPlan,
		func(c caller.Caller, in *backupapi.CreateBackupPlanInput) []restjson.Access {
			return caller.Tagging("backup:CreateBackupPlan", ARN(c.Account, c.Region, "*"), in.BackupPlanTags)
		})
	restjson.Handle(r, backupapi.UpdateBackupPlan, s.UpdateBackupPlan,
		func(c caller.Caller, in *backupapi.UpdateBackupPlanInput) []restjson.Access {
			return on(c, "backup:UpdateBackupPlan", in.BackupPlanId)
		})
	restjson.Handle(r, backupapi.GetBackupPlan, s.GetBackupPlan,
		func(c caller.Caller, in *backupapi.GetBackupPlanInput) []restjson.Access {
			return on(c, "backup:GetBackupPlan", in.BackupPlanId)
		})
	restjson.Handle(r, backupapi.DeleteBackupPlan, s.DeleteBackupPlan,
		func(c caller.Caller, in *backupapi.DeleteBackupPlanInput) []restjson.Access {
			return on(c, "backup:DeleteBackupPlan", in.BackupPlanId)
		})
	restjson.Handle(r, backupapi.ListBackupPlans, s.ListBackupPlans,
		func(caller.Caller, *backupapi.ListBackupPlansInput) []restjson.Access {
			return caller.OnAll("backup:ListBackupPlans")
		})
	restjson.Handle(r, backupapi.ListBackupPlanVersions, s.ListBackupPlanVersions,
		func(c caller.Caller, in *backupapi.ListBackupPlanVersionsInput) []restjson.Access {
			return on(c, "backup:ListBackupPlanVersions", in.BackupPlanId)
		})
	s.templateRoutes(r)
	s.selectionRoutes(r)
}

func (s *Service) templateRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.ListBackupPlanTemplates, s.ListBackupPlanTemplates,
		func(caller.Caller, *backupapi.ListBackupPlanTemplatesInput) []restjson.Access {
			return caller.OnAll("backup:ListBackupPlanTemplates")
		})
	restjson.Handle(r, backupapi.GetBackupPlanFromTemplate, s.GetBackupPlanFromTemplate,
		func(caller.Caller, *backupapi.GetBackupPlanFromTemplateInput) []restjson.Access {
			return caller.OnAll("backup:GetBackupPlanFromTemplate")
		})
	restjson.Handle(r, backupapi.GetBackupPlanFromJSON, s.GetBackupPlanFromJSON,
		func(caller.Caller, *backupapi.GetBackupPlanFromJSONInput) []restjson.Access {
			return caller.OnAll("backup:GetBackupPlanFromJSON")
		})
	restjson.Handle(r, backupapi.ExportBackupPlanTemplate, s.ExportBackupPlanTemplate,
		func(c caller.Caller, in *backupapi.ExportBackupPlanTemplateInput) []restjson.Access {
			return on(c, "backup:ExportBackupPlanTemplate", in.BackupPlanId)
		})
}

func (s *Service) selectionRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.CreateBackupSelection, s.CreateBackupSelection,
		func(c caller.Caller, in *backupapi.CreateBackupSelectionInput) []restjson.Access {
			return append(on(c, "backup:CreateBackupSelection", in.BackupPlanId), caller.Pass(&in.BackupSelection.IamRoleArn)...)
		})
	restjson.Handle(r, backupapi.GetBackupSelection, s.GetBackupSelection,
		func(c caller.Caller, in *backupapi.GetBackupSelectionInput) []restjson.Access {
			return on(c, "backup:GetBackupSelection", in.BackupPlanId)
		})
	restjson.Handle(r, backupapi.DeleteBackupSelection, s.DeleteBackupSelection,
		func(c caller.Caller, in *backupapi.DeleteBackupSelectionInput) []restjson.Access {
			return on(c, "backup:DeleteBackupSelection", in.BackupPlanId)
		})
	restjson.Handle(r, backupapi.ListBackupSelections, s.ListBackupSelections,
		func(c caller.Caller, in *backupapi.ListBackupSelectionsInput) []restjson.Access {
			return on(c, "backup:ListBackupSelections", in.BackupPlanId)
		})
}

func on(c caller.Caller, action, id string) []restjson.Access {
	return caller.On(action, ARN(c.Account, c.Region, id))
}
