package iam

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
)

// ErrRole is wrapped by the error of [Service.RoleUsable]. The error's text is
// AWS's, "IAM Role ARN cannot be assumed by AWS Backup".
var ErrRole = errors.New("cannot be assumed by AWS Backup")

// DefaultRole is the ARN of the role that the AWS console makes for AWS Backup.
func DefaultRole(account string) string {
	return "arn:aws:iam::" + account + ":role/service-role/AWSBackupDefaultServiceRole"
}

// RoleDenied says that a role does not allow what the service wanted to do with it.
type RoleDenied struct {
	RoleARN, Action, Resource string
}

func (e *RoleDenied) Error() string {
	return fmt.Sprintf("Insufficient privileges: role %s does not allow %s on %s", e.RoleARN, e.Action, e.Resource)
}

// RoleUsable reports whether jobs of an account may run with a role: it exists
// there and trusts the service. The answer is nil, or an error that wraps [ErrRole].
func (s *Service) RoleUsable(_ context.Context, account, roleARN string) error {
	if roleARN != DefaultRole(account) {
		return fmt.Errorf("IAM Role %s %w", roleARN, ErrRole)
	}
	return nil
}

// RoleMay reports whether the service may do all that is asked with a role. The
// answer is nil, an error of [Service.RoleUsable], or [*RoleDenied].
func (s *Service) RoleMay(ctx context.Context, account, roleARN string, rights []caller.Access) error {
	if err := s.RoleUsable(ctx, account, roleARN); err != nil {
		return err
	}
	return allowAll(roleARN, rights, s.roleAllows)
}

// roleAllows reports what the policies of a role say of an access without its
// alternatives. The default role may do everything.
func (s *Service) roleAllows(caller.Access) (ruling, error) { return allowed, nil }

// ruling is what the policies of a role say of an access.
type ruling int

// The rulings.
const (
	unmentioned ruling = iota // no statement allows it
	allowed
	denied // by a statement
)

// allowAll reports whether a role allows all rights, each of which stands for
// itself and its alternatives. The answer is nil, an error of rule, or [*RoleDenied].
func allowAll(roleARN string, rights []caller.Access, rule func(caller.Access) (ruling, error)) error {
	for _, right := range rights {
		best := unmentioned
		for _, a := range append([]caller.Access{right}, right.Or...) {
			r, err := rule(a)
			switch {
			case err != nil:
				return err
			case r == denied:
				return &RoleDenied{roleARN, a.Action, a.Resource}
			case r == allowed:
				best = allowed
			}
		}
		if best != allowed {
			return &RoleDenied{roleARN, right.Action, right.Resource}
		}
	}
	return nil
}

// DeleteAuthority reports whether a recovery point that was made with a role may
// be deleted: by the rights of the role itself, or because it may create the
// service-linked role, which is made then and deletes. The answer is nil, an
// error of [Service.RoleUsable], or [*RoleDenied].
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html.
func (s *Service) DeleteAuthority(ctx context.Context, account, roleARN string, rights []caller.Access) error {
	return s.RoleMay(ctx, account, roleARN, rights)
}
