package iam_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	document = `{"Version": "2012-10-17",
 "Statement": [{"Effect": "Allow", "Action": "backup:*", "Resource": "*"}]}`
	trustOfBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

	arnPrefix = "arn:aws:iam::" + account + ":"
	forBackup = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
)

// api calls the operations of a service as the root of the account.
type api struct {
	*iam.Service
	t   *testing.T
	ctx context.Context
	db  *meta.DB
}

// runAPI runs a test on each database.
func runAPI(t *testing.T, test func(a api)) {
	t.Helper()
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		s := iam.New(iam.Options{DB: db, Keys: rootKey(t), Pager: restjson.NewPager([]byte("key"))})
		ctx := caller.With(t.Context(), caller.Caller{Account: account, ARN: arnPrefix + "root", UserID: account, Kind: caller.Root})
		test(api{s, t, ctx, db})
	})
}

// as calls as a user, who must exist.
func (a api) as(name string) api {
	u := call(a, a.GetUser, iamapi.GetUserInput{UserName: &name}).User
	a.ctx = caller.With(a.t.Context(), caller.Caller{Account: account, ARN: u.Arn, UserID: u.UserId, Kind: caller.User, Name: name})
	return a
}

// call carries an operation out.
func call[In, Out any](a api, fn func(context.Context, *In) (*Out, error), in In) *Out {
	a.t.Helper()
	out, err := fn(a.ctx, &in)
	if err != nil {
		a.t.Fatalf("%T: %v", in, err)
	}
	return out
}

// refused checks that an operation fails with an error of the API.
func refused[In, Out any](a api, code, text string, fn func(context.Context, *In) (*Out, error), in In) {
	a.t.Helper()
	_, err := fn(a.ctx, &in)
	e, ok := errors.AsType[wire.APIError](err)
	if !ok {
		a.t.Errorf("%T: %v, want %s", in, err, code)
		return
	}
	if e.ErrorName() != code || !strings.Contains(e.Error(), text) {
		a.t.Errorf("%T: %v, want %s: %s", in, err, code, text)
	}
}

func (a api) user(name string) iamapi.User {
	a.t.Helper()
	return *call(a, a.CreateUser, iamapi.CreateUserInput{UserName: name}).User
}

func (a api) group(name string) iamapi.Group {
	a.t.Helper()
	return call(a, a.CreateGroup, iamapi.CreateGroupInput{GroupName: name}).Group
}

func (a api) role(name string) iamapi.Role {
	a.t.Helper()
	return call(a, a.CreateRole, iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trustOfBackup}).Role
}

func (a api) policy(name string) string {
	a.t.Helper()
	return *call(a, a.CreatePolicy, iamapi.CreatePolicyInput{PolicyName: name, PolicyDocument: document}).Policy.Arn
}

// epoch reads how often anything changed.
func (a api) epoch() (n int64) {
	a.t.Helper()
	err := a.db.View(a.t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT epoch FROM iam_epoch").Scan(&n)
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// pages follows the markers of a list.
func pages[T any](a api, page func(marker *string) (items []T, truncated *bool, next *string)) (all [][]T) {
	a.t.Helper()
	var marker *string
	for range 100 {
		items, truncated, next := page(marker)
		all = append(all, items)
		if *truncated != (next != nil) {
			a.t.Errorf("IsTruncated = %v, Marker = %v", *truncated, next)
		}
		if marker = next; marker == nil {
			return all
		}
		if len(*marker) > 320 {
			a.t.Errorf("a marker of %d characters", len(*marker))
		}
	}
	a.t.Fatal("a list without end")
	return nil
}
