package iam

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// ErrRole is wrapped by the error of [Service.RoleUsable]. The error's text is
// AWS's, "IAM Role ARN cannot be assumed by AWS Backup".
var ErrRole = errors.New("cannot be assumed by AWS Backup")

// serviceSession is the name of the sessions in which the service uses roles.
const serviceSession = "AWSBackup"

// usedEvery is how often the last use of something is recorded.
const usedEvery = time.Hour

// DefaultRole is the ARN of the role that the AWS console makes for AWS Backup.
func DefaultRole(account string) string {
	return "arn:aws:iam::" + account + ":role" + defaultRolePath + defaultRoleName
}

// serviceLinkedRole is the ARN of the service's own role.
func serviceLinkedRole(account string) string {
	return "arn:aws:iam::" + account + ":role/aws-service-role/" + caller.ServiceName + "/AWSServiceRoleForBackup"
}

// RoleDenied says that a role does not allow what the service wanted to do with it.
type RoleDenied struct {
	RoleARN, Action, Resource string
}

func (e *RoleDenied) Error() string {
	return fmt.Sprintf("Insufficient privileges: role %s does not allow %s on %s", e.RoleARN, e.Action, e.Resource)
}

// RoleUsable reports whether jobs of an account may run with a role: it exists
// there and trusts the service. The answer is nil, an error that wraps
// [ErrRole], or one of the database. It must not be called inside a transaction.
func (s *Service) RoleUsable(ctx context.Context, account, roleARN string) error {
	_, err := s.usableRole(ctx, account, roleARN, s.regionOf(ctx, nil))
	return err
}

// RoleMay reports whether the service may do all that is asked with a role. The
// answer is nil, an error of [Service.RoleUsable], or [*RoleDenied]. Policies of
// resources bind callers, not the service; only what reaches into another
// account must be allowed there, too.
func (s *Service) RoleMay(ctx context.Context, account, roleARN string, asked []caller.Access) error {
	region := s.regionOf(ctx, asked)
	role, err := s.usableRole(ctx, account, roleARN, region)
	if err != nil {
		return err
	}
	err = allowAll(roleARN, asked, func(a caller.Access) (ruling, error) { return s.rule(ctx, role, region, &a) })
	if err != nil {
		return err
	}
	return s.markUsed(ctx, role, region)
}

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
// service-linked role, which is made then and deletes. What was made with that
// one, as copies from other accounts are, it deletes, too. The answer is nil, an
// error of [Service.RoleUsable], or [*RoleDenied]. It must not be called inside
// a transaction.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html.
func (s *Service) DeleteAuthority(ctx context.Context, account, roleARN string, rights []caller.Access) error {
	if roleARN == serviceLinkedRole(account) {
		return s.RoleUsable(ctx, account, roleARN)
	}
	err := s.RoleMay(ctx, account, roleARN, rights)
	if _, lacks := errors.AsType[*RoleDenied](err); lacks {
		creates := caller.Access{Action: "iam:CreateServiceLinkedRole", Resource: serviceLinkedRole(account),
			Keys: map[string][]string{"iam:awsservicename": {caller.ServiceName}}}
		may := s.RoleMay(ctx, account, roleARN, []caller.Access{creates})
		if may == nil {
			may = s.ensureServiceLinkedRole(ctx, account)
		}
		if _, taken := errors.AsType[*iamapi.EntityAlreadyExistsException](may); taken {
			may = err // another role has the name in other letters, so that this right is worth nothing
		}
		if may == nil {
			return nil
		}
		if _, lacks := errors.AsType[*RoleDenied](may); !lacks {
			return may
		}
	} else if !errors.Is(err, ErrRole) {
		return err
	}
	if s.o.SLRFallback {
		if fallback := s.RoleUsable(ctx, account, serviceLinkedRole(account)); !errors.Is(fallback, ErrRole) {
			return fallback
		}
	}
	return err
}

// ServiceRole returns the service-linked role of an account, and makes it if there is none. An API error says that it cannot
// be made. It must not be called inside a transaction.
func (s *Service) ServiceRole(ctx context.Context, account string) (string, error) {
	return serviceLinkedRole(account), s.ensureServiceLinkedRole(ctx, account)
}

func (s *Service) ensureServiceLinkedRole(ctx context.Context, account string) error {
	p, err := s.roleByARN(ctx, serviceLinkedRole(account))
	if err != nil || p != nil {
		return err
	}
	err = s.alter(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := s.EnsureServiceLinkedRoleTx(ctx, tx, account, caller.ServiceName)
		return err
	})
	if s.db.IsDuplicate(err) { // another process was faster
		return nil
	}
	return err
}

// usableRole finds a role that the service can assume.
func (s *Service) usableRole(ctx context.Context, account, roleARN, region string) (*principal, error) {
	role, err := s.roleByARN(ctx, roleARN)
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", roleARN, err)
	}
	unusable := fmt.Errorf("IAM Role %s %w", roleARN, ErrRole)
	if role == nil || role.account != account {
		return nil, unusable
	}
	d := policy.Trusts(role.trust, &policy.Request{
		Principal: policy.Principal{Kind: policy.ServicePrincipal, ARN: caller.ServiceName},
		Action:    "sts:AssumeRole", Resources: []string{roleARN}, SameAccount: true,
		Context: policy.Values{
			"aws:sourceaccount":             {account},
			"aws:sourcearn":                 {"arn:aws:backup:" + region + ":" + account + ":backup-job"},
			"aws:principalisawsservice":     {"true"},
			"aws:principalservicename":      {caller.ServiceName},
			"aws:principalservicenameslist": {caller.ServiceName},
			"aws:requestedregion":           {region},
			"aws:currenttime":               {s.o.Now().UTC().Format(time.RFC3339)},
			"sts:rolesessionname":           {serviceSession},
		},
	})
	if !d.Allowed {
		return nil, unusable
	}
	return role, nil
}

// rule answers what a role says to one thing that the service wants to do, without its alternatives.
func (s *Service) rule(ctx context.Context, role *principal, region string, a *caller.Access) (ruling, error) {
	c := &caller.Caller{
		Account: role.account, Region: region, Kind: caller.RoleSession, Name: role.name, RoleARN: role.arn(),
		ARN: sessionARN(role.account, role.name, serviceSession), UserID: role.id + ":" + serviceSession,
	}
	r := &requester{caller: c, principal: role, service: caller.ServiceName, now: s.o.Now(), tagged: role.resourceTags,
		sets: policy.Sets{Identity: role.identity, Boundary: role.boundary}}
	r.Principal = policy.Principal{Kind: policy.RoleSession, ARN: c.ARN, RoleARN: c.RoleARN, ID: c.UserID, Account: c.Account}
	d, err := s.decide(ctx, r, a)
	switch {
	case d.Allowed:
		return allowed, err
	case d.Explicit:
		return denied, err
	}
	return unmentioned, err
}

// regionOf finds the region in which a role is used: that of the request, or of the thing that it is used for.
func (s *Service) regionOf(ctx context.Context, asked []caller.Access) string {
	if region := caller.From(ctx).Region; region != "" {
		return region
	}
	for _, a := range asked {
		if parsed, err := arn.Parse(a.Resource); err == nil && parsed.Region != "" {
			return parsed.Region
		}
	}
	return s.o.Region
}

// markUsed records that a role is used, once in a while. Nothing is decided by it, so no epoch is raised.
func (s *Service) markUsed(ctx context.Context, role *principal, region string) error {
	now := meta.Micros(time.Now())
	before := role.used.Load()
	if now-before < usedEvery.Microseconds() || !role.used.CompareAndSwap(before, now) {
		return nil
	}
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE iam_role SET used_at = ?, used_region = ? WHERE account = ? AND name = ? AND used_at < ?",
			now, region, role.account, role.name, now-usedEvery.Microseconds())
		return err
	})
	if err != nil {
		role.used.Store(before)
		return fmt.Errorf("record use of role %s: %w", role.name, err)
	}
	return nil
}
