// Package setting is the noun behind what the service as a whole supports, and what accounts choose of it.
package setting

import (
	"context"
	"embed"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	db         *meta.DB
	management string
	types      []string
}

// New makes the service for the resource types that have a driver. management is the account that makes the global settings.
func New(db *meta.DB, management string, types ...string) *Service {
	return &Service{db: db, management: management, types: types}
}

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "setting", Files: migrations}
}

// Routes registers the operations.
func (s *Service) Routes(backup *restjson.Router) {
	restjson.Handle(backup, backupapi.GetSupportedResourceTypes, s.GetSupportedResourceTypes,
		func(caller.Caller, *backupapi.GetSupportedResourceTypesInput) []restjson.Access {
			return caller.OnAll("backup:GetSupportedResourceTypes")
		})
	s.regionRoutes(backup)
	s.globalRoutes(backup)
}

// GetSupportedResourceTypes lists the types of resources that can really be backed up here, which are fewer than on AWS.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_GetSupportedResourceTypes.html.
func (s *Service) GetSupportedResourceTypes(context.Context, *backupapi.GetSupportedResourceTypesInput) (*backupapi.GetSupportedResourceTypesOutput, error) {
	return &backupapi.GetSupportedResourceTypesOutput{ResourceTypes: s.types}, nil
}
