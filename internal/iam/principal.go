package iam

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
)

// Kinds of entities, as in the tables.
const (
	kindUser  = "user"
	kindGroup = "group"
	kindRole  = "role"
)

// principal is a user or a role with all that applies to it. It is shared and must not be changed, except for used.
type principal struct {
	kind          string
	account       string
	name          string
	path          string
	id            string // unique
	administrator bool   // the user that the account began with
	tags          map[string]string
	identity      []*policy.Document
	boundary      *policy.Document // nil: none
	resourceTags  bool             // a policy asks for tags of resources

	// Of roles only.
	trust      policy.Attached
	maxSession time.Duration
	service    string // of a service-linked role
	used       atomic.Int64
}

func (p *principal) arn() string {
	return "arn:aws:iam::" + p.account + ":" + p.kind + p.path + p.name
}

// user finds a user by its unique id. It is nil if there is none.
func (s *Service) user(ctx context.Context, account, id string) (*principal, error) {
	return recall(ctx, s, thing{users, account, id}, func(ctx context.Context, tx *meta.Tx) (*principal, error) {
		p := &principal{kind: kindUser, account: account, id: id}
		var boundary string
		err := tx.QueryRow(ctx, "SELECT name, path, boundary, administrator FROM iam_user WHERE account = ? AND user_id = ?",
			account, id).Scan(&p.name, &p.path, &boundary, &p.administrator)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read user %s: %w", id, err)
		}
		return p, p.complete(ctx, tx, boundary)
	})
}

// role finds a role by its name, in any case. It is nil if there is none.
func (s *Service) role(ctx context.Context, account, name string) (*principal, error) {
	name = strings.ToLower(name)
	return recall(ctx, s, thing{roles, account, name}, func(ctx context.Context, tx *meta.Tx) (*principal, error) {
		p := &principal{kind: kindRole, account: account}
		var (
			boundary, trust, ids string
			seconds, used        int64
		)
		err := tx.QueryRow(ctx, `SELECT name, path, role_id, trust, trust_ids, max_session, boundary, service, used_at
			FROM iam_role WHERE account = ? AND lower(name) = ?`, account, name).
			Scan(&p.name, &p.path, &p.id, &trust, &ids, &seconds, &boundary, &p.service, &used)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read role %s: %w", name, err)
		}
		p.maxSession = time.Duration(seconds) * time.Second
		p.used.Store(used)
		if p.trust.Document, err = policy.Parse(trust, policy.Trust); err != nil {
			p.trust.Document = trustsNobody()
		}
		if ids != "" {
			if err := json.Unmarshal([]byte(ids), &p.trust.IDs); err != nil {
				return nil, fmt.Errorf("role %s: read ids of its trust policy: %w", p.name, err)
			}
		}
		return p, p.complete(ctx, tx, boundary)
	})
}

// roleByARN finds a role of any account by its full ARN. It is nil if there is none.
func (s *Service) roleByARN(ctx context.Context, text string) (*principal, error) {
	a, ok := parsed(text)
	if !ok || a.Service != "iam" || a.Region != "" || !strings.HasPrefix(a.Resource, "role/") {
		return nil, nil
	}
	p, err := s.role(ctx, a.Account, a.Resource[strings.LastIndexByte(a.Resource, '/')+1:])
	if err != nil || p == nil || p.arn() != text {
		return nil, err
	}
	return p, nil
}

// complete reads the tags and policies.
func (p *principal) complete(ctx context.Context, tx *meta.Tx, boundary string) (err error) {
	if p.tags, err = entityTags(ctx, tx, p.account, p.kind, p.name); err != nil {
		return err
	}
	const mine = `account = ? AND (kind = ? AND entity = ? OR kind = 'group' AND ? = 'user' AND entity IN
		(SELECT group_name FROM iam_membership WHERE account = ? AND user_name = ?))`
	args := []any{p.account, p.kind, p.name, p.kind, p.account, p.name}
	documents, err := texts(ctx, tx, "SELECT document FROM iam_inline_policy WHERE "+mine+" ORDER BY kind, entity, name", args...)
	if err != nil {
		return err
	}
	for _, d := range documents {
		p.identity = append(p.identity, compile(d))
	}
	arns, err := texts(ctx, tx, "SELECT DISTINCT policy_arn FROM iam_attachment WHERE "+mine+" ORDER BY policy_arn", args...)
	if err != nil {
		return err
	}
	for _, a := range arns {
		d, err := managedDocument(ctx, tx, a)
		if err != nil {
			return err
		}
		if d != nil {
			p.identity = append(p.identity, d)
		}
	}
	if boundary != "" {
		if p.boundary, err = managedDocument(ctx, tx, boundary); err != nil {
			return err
		}
		if p.boundary == nil {
			p.boundary = deniesAll()
		}
	}
	p.resourceTags = usesTags(p.identity...) || p.boundary != nil && usesTags(p.boundary)
	return nil
}

func usesTags(documents ...*policy.Document) bool {
	return slices.ContainsFunc(documents, func(d *policy.Document) bool {
		return d.Uses("aws:ResourceTag/") || d.Uses("iam:ResourceTag/")
	})
}

func entityTags(ctx context.Context, tx *meta.Tx, account, kind, entity string) (map[string]string, error) {
	rows, err := tx.Query(ctx, "SELECT key, value FROM iam_tag WHERE account = ? AND kind = ? AND entity = ?", account, kind, entity)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tags := map[string]string{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		tags[key] = value
	}
	return tags, rows.Err()
}

// texts returns the only column of a query.
func texts(ctx context.Context, tx *meta.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// managedDocument returns the default version of a managed policy, compiled; nil if there is none.
func managedDocument(ctx context.Context, tx *meta.Tx, policyARN string) (*policy.Document, error) {
	if p, ok := awsManaged(policyARN); ok {
		return compile(p.Document), nil
	}
	var document string
	err := tx.QueryRow(ctx, `SELECT v.document FROM iam_policy p
		JOIN iam_policy_version v ON v.arn = p.arn AND v.version = p.default_version WHERE p.arn = ?`, policyARN).Scan(&document)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policyARN, err)
	}
	return compile(document), nil
}

// compile compiles a document that was checked when it was stored. One that this version cannot read might deny anything,
// so it denies everything.
func compile(document string) *policy.Document {
	d, err := policy.Parse(document, policy.Identity)
	if err != nil {
		return deniesAll()
	}
	return d
}

func deniesAll() *policy.Document {
	return must(policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`, policy.Identity))
}

func trustsNobody() *policy.Document {
	return must(policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"sts:*"}}`, policy.Trust))
}

func must(d *policy.Document, err error) *policy.Document {
	if err != nil {
		panic("iam: " + err.Error())
	}
	return d
}

// principalOf finds the user or role behind a caller. It is nil if that is gone, or is not the one that it was.
func (s *Service) principalOf(ctx context.Context, c *caller.Caller) (*principal, error) {
	switch c.Kind {
	case caller.User:
		return s.user(ctx, c.Account, c.UserID)
	case caller.RoleSession:
		p, err := s.role(ctx, c.Account, c.Name)
		if id, _, _ := strings.Cut(c.UserID, ":"); err != nil || p == nil || p.id != id {
			return nil, err
		}
		return p, nil
	}
	return nil, nil
}
