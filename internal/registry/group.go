package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/resource"
)

// CloudFormation is the resource type of groups: resources that are backed up together. On AWS a stack is such a group.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html.
const CloudFormation = "CloudFormation"

// MaxLayers is how deep groups may be nested, the outermost one included.
const MaxLayers = 10

// Member is a part of a group. The name is the one by which the group calls it: what it had when the group was declared.
type Member struct {
	Name string `json:"name"`
	ARN  string `json:"arn"`
}

// groupName is the pattern of the names of stacks.
var groupName = wire.NewPattern(`[A-Za-z][A-Za-z0-9-]{0,127}`)

// CheckGroupName refuses a name that no group may have.
func CheckGroupName(name string) error {
	if groupName.MatchString(name) {
		return nil
	}
	return fmt.Errorf("name %q: a group needs a name of letters, digits and hyphens that begins with a letter "+
		"and has at most 128 characters", name)
}

// GroupARN derives the ARN of a group.
func GroupARN(account, region, name string) string {
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join([]string{account, region, CloudFormation, name}, "\x00")))
	return "arn:aws:cloudformation:" + region + ":" + account + ":stack/" + name + "/" + id.String()
}

// CheckGroups reports what is wrong with groups, given the members of each: one that contains itself, one that contains
// something twice, be it in groups inside it, and one with too many layers. What has no members is no group.
func CheckGroups(members map[string][]string) error {
	for _, root := range slices.Sorted(maps.Keys(members)) {
		w := walk{members: members, name: func(key string) string { return key }, in: map[string]string{}}
		if err := w.group(root, nil); err != nil {
			return err
		}
	}
	return nil
}

// walk visits everything in a group.
type walk struct {
	members map[string][]string
	name    func(key string) string // for messages
	in      map[string]string       // the group in which a member was found
}

// group visits a group that was reached through the groups of path.
func (w *walk) group(key string, path []string) error {
	path = append(slices.Clip(path), key)
	if len(path) > MaxLayers {
		return fmt.Errorf("group %q has more than %d layers", w.name(path[0]), MaxLayers)
	}
	for _, m := range w.members[key] {
		if i := slices.Index(path, m); i >= 0 {
			return fmt.Errorf("group %q contains itself: %s", w.name(m), w.trail(append(slices.Clip(path[i:]), m)))
		}
		switch first, twice := w.in[m]; {
		case twice && first == key:
			return fmt.Errorf("group %q contains %q twice", w.name(key), w.name(m))
		case twice:
			return fmt.Errorf("group %q contains %q twice: in %q and in %q", w.name(path[0]), w.name(m), w.name(first), w.name(key))
		}
		w.in[m] = key
		if len(w.members[m]) == 0 {
			continue
		}
		if err := w.group(m, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) trail(path []string) string {
	var names []string
	for _, key := range path {
		names = append(names, w.name(key))
	}
	return strings.Join(names, " > ")
}

// groupsTx reads the declared groups by their ARNs, and locks them, so that of two that change at once each knows of the
// other.
func groupsTx(ctx context.Context, tx *meta.Tx, account, region string) (map[string]Declared, error) {
	rows, err := tx.Query(ctx, "SELECT "+columns+` FROM resource WHERE account = ? AND region = ? AND type = ? AND present = TRUE
		ORDER BY arn`+tx.ForUpdate(), account, region, CloudFormation)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	defer rows.Close()
	all := map[string]Declared{}
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		all[d.ARN] = d
	}
	return all, rows.Err()
}

// checkTx checks a group that has just been declared, and those that contain it. The error is one of the API.
func checkTx(ctx context.Context, tx *meta.Tx, account, region, arn string) error {
	groups, err := groupsTx(ctx, tx, account, region)
	if err != nil {
		return err
	}
	members, names := map[string][]string{}, map[string]string{}
	for key, d := range groups {
		names[key] = d.Name
		for _, m := range d.Members {
			members[key] = append(members[key], m.ARN)
			names[m.ARN] = m.Name
		}
	}
	for _, root := range append([]string{arn}, slices.Sorted(maps.Keys(members))...) {
		w := walk{members: members, name: func(key string) string { return names[key] }, in: map[string]string{}}
		err := w.group(root, nil)
		if _, inside := w.in[arn]; err != nil && (root == arn || inside) {
			return lockfastapi.InvalidParameterValueExceptionf("Members: %v.", err)
		}
	}
	return nil
}

// resolveTx finds the resources that a group is to consist of. Errors are of the API.
func resolveTx(ctx context.Context, tx *meta.Tx, account, region string, names []string) ([]Member, error) {
	var all []Member
	for _, name := range names {
		found, err := list(ctx, tx, "account = ? AND region = ? AND present = TRUE AND name = ? ORDER BY arn LIMIT 2", account, region, name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("look for resource %q: %w", name, err)
		case len(found) == 0:
			return nil, lockfastapi.InvalidParameterValueExceptionf("Members: no resource has the name %q.", name)
		case len(found) > 1:
			return nil, lockfastapi.InvalidParameterValueExceptionf("Members: more than one resource has the name %q, "+
				"among them %s and %s.", name, found[0].ResourceArn, found[1].ResourceArn)
		}
		all = append(all, Member{Name: name, ARN: found[0].ResourceArn})
	}
	return all, nil
}

// registerGroup declares a group. One that is declared already keeps its ARN, and its members and tags unless others
// are given.
func (s *Service) registerGroup(ctx context.Context, in *lockfastapi.RegisterResourceInput) (*lockfastapi.RegisterResourceOutput, error) {
	c := caller.From(ctx)
	if err := s.checkGroup(in); err != nil {
		return nil, err
	}
	arn := GroupARN(c.Account, c.Region, *in.Name)
	out := &lockfastapi.RegisterResourceOutput{Name: *in.Name, Type: CloudFormation}
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		d, known, err := s.FindTx(ctx, tx, c.Account, c.Region, arn)
		if err != nil {
			return err
		}
		if !known {
			d = Declared{Type: CloudFormation, Name: *in.Name, Origin: lockfastapi.ResourceOriginApi}
		}
		d = d.updated(in)
		if in.Members != nil {
			if d.Members, err = resolveTx(ctx, tx, c.Account, c.Region, in.Members); err != nil {
				return err
			}
		}
		if len(d.Members) == 0 {
			return lockfastapi.InvalidParameterValueExceptionf("Members: a group needs at least one.")
		}
		if out.ResourceArn, out.Created, err = s.PutTx(ctx, tx, c.Account, c.Region, d); err != nil {
			return err
		}
		out.Members = d.memberNames()
		return checkTx(ctx, tx, c.Account, c.Region, arn)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// checkGroup checks what can be checked of a group without its members.
func (s *Service) checkGroup(in *lockfastapi.RegisterResourceInput) error {
	if in.Path != nil {
		return lockfastapi.InvalidParameterValueExceptionf("Path: a resource of type %s has none.", CloudFormation)
	}
	if in.Name == nil {
		return lockfastapi.MissingParameterValueExceptionf("Name: a resource of type %s needs one.", CloudFormation)
	}
	if err := CheckGroupName(*in.Name); err != nil {
		return lockfastapi.InvalidParameterValueExceptionf("Name: %v.", err)
	}
	return s.Tags.CheckTags(in.Tags)
}

// memberNames are the names of the members; nil for what is no group.
func (d Declared) memberNames() []string {
	var names []string
	for _, m := range d.Members {
		names = append(names, m.Name)
	}
	return names
}

func (d Declared) membersJSON() string {
	if d.Members == nil {
		return "[]"
	}
	b, err := json.Marshal(d.Members)
	if err != nil {
		panic("registry: " + err.Error()) // strings always have a JSON form
	}
	return string(b)
}

// freeTx refuses to remove what a group consists of.
func freeTx(ctx context.Context, tx *meta.Tx, account, region, arn string) error {
	groups, err := groupsTx(ctx, tx, account, region)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		for _, m := range groups[key].Members {
			if m.ARN == arn {
				return lockfastapi.InvalidRequestExceptionf("Resource %s is a member of group %q: remove it there first.",
					arn, groups[key].Name)
			}
		}
	}
	return nil
}

// probe finds out whether a resource is there, and everything in it if it is a group.
func (s *Service) probe(ctx context.Context, d Declared) (resource.Facts, error) {
	if d.Type != CloudFormation {
		return s.Prober.Probe(ctx, d.Resource())
	}
	for _, m := range d.Members {
		member, err := s.find(ctx, m.ARN)
		if _, missing := errors.AsType[*lockfastapi.ResourceNotFoundException](err); missing {
			err = resource.ErrNotFound
		}
		if err == nil {
			_, err = s.probe(ctx, member)
		}
		if err != nil {
			return resource.Facts{}, fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return resource.Facts{}, nil
}
