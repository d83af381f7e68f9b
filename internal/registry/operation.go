package registry

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/resource"
)

// Routes registers the operations.
func (s *Service) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.RegisterResource, s.RegisterResource,
		func(caller.Caller, *lockfastapi.RegisterResourceInput) []restjson.Access {
			return caller.OnAll("lockfast:RegisterResource")
		})
	restjson.Handle(own, lockfastapi.ListResources, s.ListResources,
		func(caller.Caller, *lockfastapi.ListResourcesInput) []restjson.Access {
			return caller.OnAll("lockfast:ListResources")
		})
	restjson.Handle(own, lockfastapi.DescribeResource, s.DescribeResource,
		func(_ caller.Caller, in *lockfastapi.DescribeResourceInput) []restjson.Access {
			return caller.On("lockfast:DescribeResource", in.ResourceArn)
		})
	restjson.Handle(own, lockfastapi.RemoveResource, s.RemoveResource,
		func(_ caller.Caller, in *lockfastapi.RemoveResourceInput) []restjson.Access {
			return caller.On("lockfast:RemoveResource", in.ResourceArn)
		})
	restjson.Handle(own, lockfastapi.TestResource, s.TestResource,
		func(_ caller.Caller, in *lockfastapi.TestResourceInput) []restjson.Access {
			return caller.On("lockfast:TestResource", in.ResourceArn)
		})
}

// RegisterResource declares a directory tree, which must be there, or a group of declared resources. One that is declared
// already keeps its ARN, and its name and tags unless others are given.
func (s *Service) RegisterResource(ctx context.Context, in *lockfastapi.RegisterResourceInput) (*lockfastapi.RegisterResourceOutput, error) {
	c := caller.From(ctx)
	if c.Region != s.Region {
		return nil, lockfastapi.InvalidParameterValueExceptionf("Resources are declared in region %s, not in %s.", s.Region, c.Region)
	}
	if in.Type == CloudFormation {
		return s.registerGroup(ctx, in)
	}
	path, err := s.check(ctx, in)
	if err != nil {
		return nil, err
	}
	d := Declared{Path: path, Tags: in.Tags, Origin: lockfastapi.ResourceOriginApi}
	if in.Name != nil {
		d.Name = *in.Name
	}
	out := &lockfastapi.RegisterResourceOutput{Path: path, Type: EFS}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		d := d
		old, known, err := s.FindTx(ctx, tx, c.Account, c.Region, ARN(c.Account, c.Region, path))
		if err != nil {
			return err
		}
		if known {
			d = old.updated(in)
		}
		if out.ResourceArn, out.Created, err = s.PutTx(ctx, tx, c.Account, c.Region, d); err != nil {
			return err
		}
		if out.Name = d.Name; out.Name == "" {
			out.Name = filepath.Base(path)
		}
		return nil
	})
	return out, err
}

// updated is a known resource with what a new declaration says of it.
func (d Declared) updated(in *lockfastapi.RegisterResourceInput) Declared {
	if in.Name != nil {
		d.Name = *in.Name
	}
	if in.Tags != nil {
		d.Tags = in.Tags
	}
	return d
}

// check returns the clean path of what is to be declared.
func (s *Service) check(ctx context.Context, in *lockfastapi.RegisterResourceInput) (string, error) {
	switch {
	case in.Type != EFS:
		return "", lockfastapi.InvalidParameterValueExceptionf("Unsupported resource type: %s. Supported: %s, %s.",
			in.Type, EFS, CloudFormation)
	case in.Members != nil:
		return "", lockfastapi.InvalidParameterValueExceptionf("Members: only a resource of type %s has them.", CloudFormation)
	case in.Path == nil:
		return "", lockfastapi.MissingParameterValueExceptionf("Path: a resource of type %s needs one.", EFS)
	case !filepath.IsAbs(*in.Path):
		return "", lockfastapi.InvalidParameterValueExceptionf("Path: %q is not absolute.", *in.Path)
	}
	if err := s.Tags.CheckTags(in.Tags); err != nil {
		return "", err
	}
	path := filepath.Clean(*in.Path)
	if s.MayUse != nil {
		if err := s.MayUse(caller.From(ctx).Account, path); err != nil {
			return "", err
		}
	}
	_, err := s.Prober.Probe(ctx, resource.Resource{Type: EFS, Address: map[string]string{"path": path}})
	if unusable(err) {
		return "", lockfastapi.InvalidParameterValueExceptionf("Path: %v.", err)
	}
	return path, err
}

// unusable reports whether an error of a probe is about the resource.
func unusable(err error) bool {
	return errors.Is(err, resource.ErrNotFound) || errors.Is(err, resource.ErrWrongKind) ||
		errors.Is(err, resource.ErrPermission) || errors.Is(err, resource.ErrUnreachable)
}

// find reads a declared resource; a missing one is an API error.
func (s *Service) find(ctx context.Context, arn string) (d Declared, err error) {
	c := caller.From(ctx)
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var ok bool
		d, ok, err = s.FindTx(ctx, tx, c.Account, c.Region, arn)
		if err == nil && !ok {
			err = notDeclared(arn)
		}
		return err
	})
	return d, err
}

func notDeclared(arn string) error {
	return lockfastapi.ResourceNotFoundExceptionf("Resource %s is not declared.", arn)
}

// DescribeResource describes a declared resource.
func (s *Service) DescribeResource(ctx context.Context, in *lockfastapi.DescribeResourceInput) (*lockfastapi.DescribeResourceOutput, error) {
	d, err := s.find(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return new(lockfastapi.DescribeResourceOutput(describe(d))), nil
}

func describe(d Declared) lockfastapi.Resource {
	return lockfastapi.Resource{
		ResourceArn: d.ARN, Name: d.Name, Type: d.Type, Path: d.Path, Members: d.memberNames(), Tags: d.Tags, Origin: d.Origin,
		CreationDate: &d.CreatedAt,
	}
}

// ListResources lists the declared resources of the region: groups, then others in the order of their paths.
func (s *Service) ListResources(ctx context.Context, in *lockfastapi.ListResourcesInput) (*lockfastapi.ListResourcesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, lockfastapi.ListResources, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	where, args := "account = ? AND region = ? AND present = TRUE", []any{c.Account, c.Region}
	if in.Type != nil {
		where, args = where+" AND type = ?", append(args, *in.Type)
	}
	if page.After != nil {
		where, args = where+" AND (path, arn) > (?, ?)", append(args, page.After[0], page.After[1])
	}
	out := &lockfastapi.ListResourcesOutput{}
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.Resources, err = list(ctx, tx, where+" ORDER BY path, arn LIMIT ?", append(args, page.Limit+1)...)
		return err
	})
	if len(out.Resources) > page.Limit {
		out.Resources = out.Resources[:page.Limit]
		last := out.Resources[page.Limit-1]
		out.NextToken = page.Next(last.Path, last.ResourceArn)
	}
	return out, err
}

func list(ctx context.Context, tx *meta.Tx, where string, args ...any) ([]lockfastapi.Resource, error) {
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM resource WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []lockfastapi.Resource{}
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, describe(d))
	}
	return all, rows.Err()
}

// RemoveResource withdraws the declaration of a resource that no group consists of. Its recovery points stay.
func (s *Service) RemoveResource(ctx context.Context, in *lockfastapi.RemoveResourceInput) (*lockfastapi.RemoveResourceOutput, error) {
	c := caller.From(ctx)
	return nil, s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		d, ok, err := s.FindTx(ctx, tx, c.Account, c.Region, in.ResourceArn)
		switch {
		case err != nil:
			return err
		case !ok:
			return notDeclared(in.ResourceArn)
		case d.Origin == lockfastapi.ResourceOriginFile:
			return lockfastapi.InvalidRequestExceptionf("Resource %s is declared in the configuration file: remove it there.", in.ResourceArn)
		}
		if err := freeTx(ctx, tx, c.Account, c.Region, in.ResourceArn); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM resource WHERE account = ? AND region = ? AND arn = ?", c.Account, c.Region, in.ResourceArn)
		if err != nil {
			return fmt.Errorf("remove resource %s: %w", in.ResourceArn, err)
		}
		return nil
	})
}

// TestResource reports whether a declared resource can be backed up now.
func (s *Service) TestResource(ctx context.Context, in *lockfastapi.TestResourceInput) (*lockfastapi.TestResourceOutput, error) {
	d, err := s.find(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	facts, err := s.probe(ctx, d)
	switch {
	case unusable(err):
		return &lockfastapi.TestResourceOutput{Message: new(err.Error())}, nil
	case err != nil:
		return nil, err
	}
	return &lockfastapi.TestResourceOutput{Reachable: true, Facts: facts.Values}, nil
}
