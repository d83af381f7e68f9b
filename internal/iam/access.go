package iam

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/wire"
)

// subject says what an operation is on: something of a kind that a member of the input names. The zero subject is everything.
//
// See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html.
type subject struct {
	kind   *kind
	member string
}

// everything is the subject of lists.
var everything = subject{}

// boundaryKey is the boundary that something gets or, else, has.
const boundaryKey = "iam:permissionsboundary"

// input reads the members of an operation's input by their names.
type input struct {
	shape *wire.Shape
	value reflect.Value
}

// text is a text that the input may have, and may be given.
func (in input) text(member string) (string, bool) {
	i := in.shape.Member(member)
	if i < 0 || in.shape.Members[i].Shape.Kind != wire.String {
		return "", false
	}
	return wire.Text(&in.shape.Members[i], in.value.Field(i))
}

// list is a member that is a list of a type.
func list[T any](in input, member string) []T {
	i := in.shape.Member(member)
	if i < 0 {
		return nil
	}
	all, _ := in.value.Field(i).Interface().([]T)
	return all
}

// keys are the condition keys that the input gives values for.
func (in input) keys() map[string][]string {
	keys := map[string][]string{}
	for member, key := range map[string]string{
		"PermissionsBoundary": boundaryKey, "PolicyArn": "iam:policyarn", "AWSServiceName": "iam:awsservicename",
	} {
		if value, ok := in.text(member); ok {
			keys[key] = []string{value}
		}
	}
	for _, t := range list[iamapi.Tag](in, "Tags") {
		keys["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		keys["aws:tagkeys"] = append(keys["aws:tagkeys"], t.Key)
	}
	if removed := list[string](in, "TagKeys"); removed != nil {
		keys["aws:tagkeys"] = removed
	}
	return keys
}

// on registers an operation on a subject.
func on[In, Out any](r *query.Router, s *Service, op wire.Operation[In, Out], fn func(context.Context, *In) (
	*Out, error), of subject,
) {
	query.HandleOn(r, op, fn, func(ctx context.Context, in *In) ([]query.Access, error) {
		members := input{op.Input, reflect.ValueOf(in).Elem()}
		arn, boundary, err := s.arnOf(ctx, of, members)
		keys := members.keys()
		if keys[boundaryKey] == nil && boundary != "" {
			keys[boundaryKey] = []string{boundary}
		}
		asked := []query.Access{{Action: "iam:" + op.Name, Resource: arn, Keys: keys}}
		if other := renamed(of, members, arn); other != arn {
			asked = append(asked, query.Access{Action: "iam:" + op.Name, Resource: other, Keys: keys})
		}
		return asked, err
	})
}

// arnOf is the ARN of a subject, and its permissions boundary. What an operation makes has the path that it will get; what
// does not exist has none.
func (s *Service) arnOf(ctx context.Context, of subject, in input) (arn, boundary string, err error) {
	if of.kind == nil {
		return "*", "", nil
	}
	c := caller.From(ctx)
	name, given := in.text(of.member)
	switch {
	case !given && c.Kind == caller.RoleSession:
		return "*", "", nil
	case !given:
		return c.ARN, "", nil
	case of.kind == policyKind && of.member == "PolicyArn":
		return name, "", nil
	}
	if in.shape.Member("Path") >= 0 {
		path, _ := in.text("Path")
		return of.kind.arn(c.Account, orRoot(nonEmpty(path)), name), "", nil
	}
	arn = of.kind.arn(c.Account, "/", name)
	err = s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := findTx(ctx, tx, of.kind, account, name)
		if err == nil {
			arn, boundary = e.arn(), e.boundary
		}
		if isAbsent(err) {
			return nil
		}
		return err
	})
	return arn, boundary, err
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// renamed is the ARN that a subject has after a change of its name or path.
func renamed(of subject, in input, arn string) string {
	path, moved := in.text("NewPath")
	name, called := in.text("New" + of.member)
	if !moved && !called {
		return arn
	}
	head, rest, _ := strings.Cut(arn, "/")
	i := strings.LastIndex(rest, "/") + 1
	if !moved {
		path = "/" + rest[:i]
	}
	if !called {
		name = rest[i:]
	}
	return head + path + name
}

// passes is the access of AddRoleToInstanceProfile, which hands a role over to instances.
func (s *Service) passes(ctx context.Context, in *iamapi.AddRoleToInstanceProfileInput) ([]query.Access, error) {
	members := input{iamapi.AddRoleToInstanceProfile.Input, reflect.ValueOf(in).Elem()}
	profile, _, err := s.arnOf(ctx, subject{profileKind, "InstanceProfileName"}, members)
	passed, _, err2 := s.arnOf(ctx, subject{roleKind, "RoleName"}, members)
	return []query.Access{
		{Action: "iam:AddRoleToInstanceProfile", Resource: profile},
		{Action: "iam:PassRole", Resource: passed, Keys: map[string][]string{"iam:passedtoservice": {"ec2.amazonaws.com"}}},
	}, errors.Join(err, err2)
}

// links is the access of CreateServiceLinkedRole.
func links(c caller.Caller, in *iamapi.CreateServiceLinkedRoleInput) []query.Access {
	l, _ := linkedRole(in.AWSServiceName)
	return []query.Access{{
		Action:   "iam:CreateServiceLinkedRole",
		Resource: roleKind.arn(c.Account, serviceRolePath+in.AWSServiceName+"/", l.name),
		Keys:     map[string][]string{"iam:awsservicename": {in.AWSServiceName}},
	}}
}
