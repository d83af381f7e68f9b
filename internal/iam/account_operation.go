package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// AccountRoutes registers Lockfast's own operations on accounts. Accounts belong to the server's first one, so that only
// callers from there may be allowed anything about them.
func (s *Service) AccountRoutes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.CreateAccount, s.CreateAccount,
		func(_ caller.Caller, in *lockfastapi.CreateAccountInput) []restjson.Access {
			return caller.On("lockfast:CreateAccount", s.accountARN(in.AccountId))
		})
	restjson.Handle(own, lockfastapi.ListAccounts, s.ListAccounts,
		func(caller.Caller, *lockfastapi.ListAccountsInput) []restjson.Access {
			return caller.On("lockfast:ListAccounts", s.accountARN("*"))
		})
}

func (s *Service) accountARN(id string) string {
	return "arn:aws:lockfast::" + s.o.Account + ":account/" + id
}

// CreateAccount makes an account with its administrator and the default role.
func (s *Service) CreateAccount(ctx context.Context, in *lockfastapi.CreateAccountInput) (*lockfastapi.CreateAccountOutput, error) {
	key, err := s.newAccessKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("create account %s: %w", in.AccountId, err)
	}
	exists := lockfastapi.AlreadyExistsException{Message: "Account " + in.AccountId + " exists already."}
	err = s.alter(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var id string
		err := tx.QueryRow(ctx, "SELECT id FROM iam_account WHERE id = ?", in.AccountId).Scan(&id)
		switch {
		case err == nil:
			return &exists
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		return createAccountTx(ctx, tx, in.AccountId, key)
	})
	if s.db.IsDuplicate(err) { // somebody was faster
		return nil, &exists
	}
	if err != nil {
		return nil, err
	}
	return &lockfastapi.CreateAccountOutput{AccountId: in.AccountId, AdministratorArn: userARN(in.AccountId, "/", administrator),
		AccessKeyId: key.id, SecretAccessKey: key.secret}, nil
}

// ListAccounts lists the accounts in the order of their ids.
func (s *Service) ListAccounts(ctx context.Context, in *lockfastapi.ListAccountsInput) (*lockfastapi.ListAccountsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, lockfastapi.ListAccounts, in)
	if err != nil {
		return nil, err
	}
	after := ""
	if page.After != nil {
		after = page.After[0]
	}
	out := &lockfastapi.ListAccountsOutput{}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.Accounts, err = accounts(ctx, tx, after, page.Limit+1)
		return err
	})
	if len(out.Accounts) > page.Limit {
		out.Accounts = out.Accounts[:page.Limit]
		out.NextToken = page.Next(out.Accounts[page.Limit-1].AccountId)
	}
	return out, err
}

func accounts(ctx context.Context, tx *meta.Tx, after string, limit int) ([]lockfastapi.Account, error) {
	rows, err := tx.Query(ctx, "SELECT id, created_at FROM iam_account WHERE id > ? ORDER BY id LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []lockfastapi.Account{}
	for rows.Next() {
		var (
			a       lockfastapi.Account
			created int64
		)
		if err := rows.Scan(&a.AccountId, &created); err != nil {
			return nil, err
		}
		a.CreationDate = meta.FromMicros(created)
		list = append(list, a)
	}
	return list, rows.Err()
}
