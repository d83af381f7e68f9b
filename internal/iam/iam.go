// Package iam knows who calls, and what they may do: accounts, users, groups, roles and policies with the operations of IAM
// on them; temporary credentials with the operations of STS; and the decisions that rest on all of it.
//
// An account begins with an administrator, an IAM user who may do everything there, and with the default role of AWS Backup.
// [Service.Authorize] decides what a caller may do. [Service.RoleMay] and [Service.DeleteAuthority] decide what the service
// may do with a role that it was given. The language of policies is package policy's.
//
// Access keys are kept with their secrets wrapped by the root key. Temporary credentials are kept nowhere: a session token
// holds, encrypted, what they stand for, see session.go. What was read is remembered as long as nothing changes, see
// known.go.
package iam

import (
	"context"
	"embed"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/stsapi"
)

//go:embed *.sql
var files embed.FS

// Migrations are the tables of this package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "iam", Files: files}
}

// Wrapper encrypts the secrets of access keys.
type Wrapper interface {
	Wrap(ctx context.Context, key, bind []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, bind []byte) ([]byte, error)
}

// Options says what a [Service] works with.
type Options struct {
	DB   *meta.DB // to which [Migrations] have been applied
	Keys Wrapper
	// TokenKey encrypts session tokens. Whoever has it can make tokens for everyone.
	TokenKey [32]byte
	// Account is the server's first account, whose administrators make others; Region is the configured one.
	Account, Region string
	// ResourcePolicies and ResourceTags are asked about resources. Without them resources have none.
	ResourcePolicies ResourcePolicies
	ResourceTags     ResourceTags
	// SLRFallback lets recovery points be deleted by the service-linked role, if it exists, whatever happened to the role
	// that made them.
	SLRFallback bool
	// Pager makes the markers of lists.
	Pager *restjson.Pager
	// Now is the clock of policies; nil is time.Now. Sessions expire by real time in any case.
	Now func() time.Time
}

// Service answers for identities. Its methods may be called concurrently.
type Service struct {
	db     *meta.DB
	keys   Wrapper
	pager  *restjson.Pager
	o      Options
	tokens *tokens
	known  known

	keyUses keyUses
}

// New returns a service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: o.DB, keys: o.Keys, pager: o.Pager, o: o, tokens: newTokens(o.TokenKey)}
}

// administrator is the name of the user that each account starts with.
const administrator = "administrator"

// GetCallerIdentity tells callers who they are. No policy can forbid it.
//
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *stsapi.GetCallerIdentityInput) (*stsapi.GetCallerIdentityOutput, error) {
	c := caller.From(ctx)
	return &stsapi.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN, UserId: &c.UserID}, nil
}
