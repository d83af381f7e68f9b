// Package setting is the noun behind what the service as a whole supports.
package setting

import (
	"context"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Service is the noun.
type Service struct{ types []string }

// New makes the service for the resource types that have a driver.
func New(types ...string) *Service { return &Service{types: types} }

// Routes registers the operations.
func (s *Service) Routes(backup *restjson.Router) {
	restjson.Handle(backup, backupapi.GetSupportedResourceTypes, s.GetSupportedResourceTypes,
		func(caller.Caller, *backupapi.GetSupportedResourceTypesInput) []restjson.Access {
			return caller.OnAll("backup:GetSupportedResourceTypes")
		})
}

// GetSupportedResourceTypes lists the types of resources that can really be backed up here, which are fewer than on AWS.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_GetSupportedResourceTypes.html.
func (s *Service) GetSupportedResourceTypes(context.Context, *backupapi.GetSupportedResourceTypesInput) (*backupapi.GetSupportedResourceTypesOutput, error) {
	return &backupapi.GetSupportedResourceTypesOutput{ResourceTypes: s.types}, nil
}
