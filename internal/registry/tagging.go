package registry

import (
	"context"
	"fmt"
	"maps"

	"github.com/lockfast/lockfast/internal/meta"
)

// Found is a declared resource with all its tags.
type Found struct {
	ARN, Type, Name string
	Tags            map[string]string
}

// FollowingTx returns declared resources in the order of their ARNs, from the first after one on.
func (s *Service) FollowingTx(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) ([]Found, error) {
	declared, err := following(ctx, tx, account, region, after, limit)
	if err != nil {
		return nil, err
	}
	all := make([]Found, 0, len(declared))
	for _, d := range declared {
		tags, err := s.merge(ctx, tx, account, d)
		if err != nil {
			return nil, err
		}
		all = append(all, Found{ARN: d.ARN, Type: d.Type, Name: d.Name, Tags: tags})
	}
	return all, nil
}

func following(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) (all []Declared, err error) {
	rows, err := tx.Query(ctx, "SELECT "+columns+` FROM resource WHERE account = ? AND region = ? AND arn > ? AND present = TRUE
		ORDER BY arn LIMIT ?`, account, region, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list resources: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// DeclaredTx implements tag.Declared.
func (s *Service) DeclaredTx(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) (arns []string, err error) {
	all, err := following(ctx, tx, account, region, after, limit)
	for _, d := range all {
		arns = append(arns, d.ARN)
	}
	return arns, err
}

// DeclaredTagsTx implements tag.Declared.
func (s *Service) DeclaredTagsTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (map[string]string, bool, error) {
	d, ok, err := s.FindTx(ctx, tx, account, region, arn)
	return d.Tags, ok, err
}

// merge returns the tags of a declaration and those that the resource was given since, which win.
func (s *Service) merge(ctx context.Context, tx *meta.Tx, account string, d Declared) (map[string]string, error) {
	given, err := s.Tags.TagsTx(ctx, tx, account, d.ARN)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	maps.Copy(tags, d.Tags)
	maps.Copy(tags, given)
	return tags, nil
}

// FoundTx finds a declared resource with all its tags; false if there is none.
func (s *Service) FoundTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (Found, bool, error) {
	d, ok, err := s.FindTx(ctx, tx, account, region, arn)
	if err != nil || !ok {
		return Found{}, false, err
	}
	tags, err := s.merge(ctx, tx, account, d)
	return Found{ARN: d.ARN, Type: d.Type, Name: d.Name, Tags: tags}, err == nil, err
}
