// Package iam knows who calls, and what they may do.
//
// An account has one user so far, its administrator, who may do everything in
// that account and nothing in others. Access keys are kept with their secrets
// wrapped by the root key. Of roles, each account has the default role of AWS
// Backup only.
package iam

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/wire"
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
	// Pager makes the markers of lists.
	Pager *restjson.Pager
}

// Service answers for identities. Its methods may be called concurrently.
type Service struct {
	db    *meta.DB
	keys  Wrapper
	pager *restjson.Pager
	cache cache

	keyUses keyUses
}

// New returns a service.
func New(o Options) *Service {
	return &Service{db: o.DB, keys: o.Keys, pager: o.Pager}
}

// administrator is the name of the user that each account starts with.
const administrator = "administrator"

func userARN(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }

// Authorize lets the administrator of an account do everything there, and
// refuses the rest with [*wire.Denied].
func (s *Service) Authorize(ctx context.Context, c caller.Caller, asked []caller.Access) error {
	if c.ARN == "" || len(asked) == 0 {
		return errors.New("authorize: nobody asks for anything")
	}
	if err := s.keyUsed(ctx, c, asked); err != nil {
		return err
	}
	for _, a := range asked {
		if c.ARN != userARN(c.Account, administrator) || !within(c.Account, a.Resource) {
			return &wire.Denied{Message: fmt.Sprintf(
				"User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
				c.ARN, a.Action, a.Resource, a.Action)}
		}
	}
	return nil
}

// within reports whether a resource belongs to an account or to none. What is
// no ARN is left to the operation, which names the parameter that is wrong.
func within(account, resource string) bool {
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return true
	}
	switch owner := parts[4]; owner {
	case account, "", "*", "aws":
		return true
	}
	return false
}

// GetCallerIdentity tells callers who they are. No policy can forbid it.
//
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *stsapi.GetCallerIdentityInput) (
	*stsapi.GetCallerIdentityOutput, error,
) {
	c := caller.From(ctx)
	return &stsapi.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN, UserId: &c.UserID}, nil
}
