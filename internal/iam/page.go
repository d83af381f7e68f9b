package iam

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// openPage reads what page of its list the input of an operation asks for.
func openPage[In, Out any](ctx context.Context, s *Service, op wire.Operation[In, Out], in *In, maxItems *int) (
	*restjson.Page, error,
) {
	c := caller.From(ctx)
	c.Region = "" // identities are the same in all of them
	page, err := restjson.OpenPage(caller.With(ctx, c), s.pager, op, in)
	if err == nil && maxItems == nil {
		page.Limit = defaultPage
	}
	return page, err
}

// after is one text of the sort key that a page follows.
func after(p *restjson.Page, i int) string {
	if i >= len(p.After) {
		return ""
	}
	return p.After[i]
}

// cut shortens a list that was read longer than the page, and makes the marker of the page that follows.
func cut[T any](p *restjson.Page, items []T, key func(T) []string) (page []T, truncated *bool, marker *string) {
	if len(items) <= p.Limit {
		return items, new(false), nil
	}
	items = items[:p.Limit]
	return items, new(true), p.Next(key(items[p.Limit-1])...)
}

// window is [cut] for a list that was read as a whole, in any order.
func window[T any](p *restjson.Page, items []T, key func(T) []string) (page []T, truncated *bool, marker *string) {
	slices.SortFunc(items, func(a, b T) int { return slices.Compare(key(a), key(b)) })
	from, found := slices.BinarySearchFunc(items, p.After, func(t T, after []string) int { return slices.Compare(key(t), after) })
	if found {
		from++
	}
	return cut(p, items[from:], key)
}

func byName(e *entity) []string { return []string{e.name} }
func byText(s string) []string  { return []string{s} }

// listTx reads the things of a kind whose path begins with a prefix, in the order of their names, one more than the page has.
// more is a condition of its own, with its arguments.
func listTx(
	ctx context.Context, tx *meta.Tx, p *restjson.Page, k *kind, account string, prefix *string, more string, args ...any,
) ([]*entity, error) {
	start := orRoot(prefix)
	query := "SELECT " + k.columns() + " FROM " + k.table + " WHERE account = ? AND name > ? AND substr(path, 1, ?) = ?"
	if more != "" {
		query += " AND " + more
	}
	all := append([]any{account, after(p, len(p.After)-1), len(start), start}, args...)
	return selectTx(ctx, tx, func(rows *sql.Rows) (*entity, error) {
		e := &entity{kind: k}
		return e, e.scan(rows)
	}, query+" ORDER BY name LIMIT ?", append(all, p.Limit+1)...)
}

// under reports whether a path begins with a prefix.
func under(path string, prefix *string) bool { return strings.HasPrefix(path, orRoot(prefix)) }

// mapped makes a list of another kind.
func mapped[T, U any](list []T, f func(T) U) []U {
	all := make([]U, len(list))
	for i, t := range list {
		all[i] = f(t)
	}
	return all
}
