package iam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	other     = "111111111111"
	allowsAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
)

// world is a service with what it asks others for.
type world struct {
	testing.TB
	*iam.Service
	db       *meta.DB
	options  iam.Options
	policies map[string]policy.Attached   // by resource
	tags     map[string]map[string]string // by resource
	n        int
}

func newWorld(t testing.TB, db *meta.DB) *world {
	w := &world{TB: t, db: db, policies: map[string]policy.Attached{}, tags: map[string]map[string]string{}}
	w.options = iam.Options{DB: db, Keys: plain{}, TokenKey: [32]byte{1}, Account: account, Region: "us-east-1",
		ResourcePolicies: w, ResourceTags: w}
	w.Service = iam.New(w.options)
	return w
}

// restart makes the service again with changed options.
func (w *world) restart() { w.Service = iam.New(w.options) }

// plain keeps secrets as they are.
type plain struct{}

func (plain) Wrap(_ context.Context, key, _ []byte) ([]byte, error)       { return key, nil }
func (plain) Unwrap(_ context.Context, wrapped, _ []byte) ([]byte, error) { return wrapped, nil }

func (w *world) ResourcePolicies(_ context.Context, _, _ string, a caller.Access) ([]policy.Attached, error) {
	if p, ok := w.policies[a.Resource]; ok {
		return []policy.Attached{p}, nil
	}
	return nil, nil
}

func (w *world) ResourceTags(_ context.Context, _, arn string) (map[string]string, error) {
	return w.tags[arn], nil
}

func (w *world) attach(resource, document string) {
	w.Helper()
	d, err := policy.Parse(document, policy.Resource)
	if err != nil {
		w.Fatal(err)
	}
	w.policies[resource] = policy.Attached{Document: d}
}

// exec changes the tables as another node would.
func (w *world) exec(query string, args ...any) {
	w.Helper()
	err := w.db.Update(w.Context(), func(ctx context.Context, tx *meta.Tx) error {
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE iam_epoch SET epoch = epoch + 1")
		return err
	})
	if err != nil {
		w.Fatalf("%s: %v", query, err)
	}
	w.Forget()
}

func (w *world) id(prefix string) string {
	w.n++
	return fmt.Sprintf("%s%017d", prefix, w.n)
}

// user makes a user with inline policies.
func (w *world) user(account, name string, documents ...string) caller.Caller {
	w.Helper()
	id := w.id("AIDA")
	w.exec("INSERT INTO iam_user (account, name, user_id, created_at) VALUES (?, ?, ?, 0)", account, name, id)
	w.inline(account, "user", name, documents...)
	return caller.Caller{Account: account, Region: "us-east-1", ARN: "arn:aws:iam::" + account + ":user/" + name, UserID: id,
		Kind: caller.User, Name: name, AccessKeyID: "AKIA" + name}
}

func (w *world) inline(account, kind, entity string, documents ...string) {
	w.Helper()
	for _, d := range documents {
		w.exec("INSERT INTO iam_inline_policy (account, kind, entity, name, document) VALUES (?, ?, ?, ?, ?)",
			account, kind, entity, w.id("p"), d)
	}
}

// role makes a role and returns its ARN.
func (w *world) role(account, name, trust string, documents ...string) string {
	w.Helper()
	w.exec(`INSERT INTO iam_role (account, name, path, role_id, trust, trust_ids, description, max_session, boundary, service, used_at,
		used_region, created_at) VALUES (?, ?, '/p/', ?, ?, '{}', '', 7200, '', '', 0, '', 0)`, account, name, w.id("AROA"), trust)
	w.inline(account, "role", name, documents...)
	return "arn:aws:iam::" + account + ":role/p/" + name
}

// managed makes a managed policy and returns its ARN.
func (w *world) managed(account, name, document string) string {
	w.Helper()
	arn := "arn:aws:iam::" + account + ":policy/" + name
	w.exec(`INSERT INTO iam_policy (arn, account, name, path, policy_id, description, default_version, next_version, created_at, updated_at)
		VALUES (?, ?, ?, '/', ?, '', 1, 2, 0, 0)`, arn, account, name, w.id("ANPA"))
	w.exec("INSERT INTO iam_policy_version (arn, version, document, created_at) VALUES (?, 1, ?, 0)", arn, document)
	return arn
}

func (w *world) ask(c caller.Caller, a caller.Access) error {
	ctx := caller.WithRequest(w.Context(), caller.Request{SourceIP: "10.1.2.3", UserAgent: "test", Secure: true})
	return w.Authorize(ctx, c, []caller.Access{a})
}

func (w *world) allows(c caller.Caller, action, resource string, also ...string) {
	w.Helper()
	if err := w.ask(c, caller.Access{Action: action, Resource: resource, Also: also}); err != nil {
		w.Errorf("%s on %s: %v", action, resource, err)
	}
}

// denies wants the message of a refusal to end in reason.
func (w *world) denies(c caller.Caller, action, resource, reason string) {
	w.Helper()
	wantDenied(w, w.ask(c, caller.Access{Action: action, Resource: resource}),
		"User: "+c.ARN+" is not authorized to perform: "+action+" on resource: "+resource+" "+reason)
}

func wantDenied(t testing.TB, err error, want string) {
	t.Helper()
	denied, ok := errors.AsType[*wire.Denied](err)
	if !ok || denied.Message != want {
		t.Errorf("error = %v, want %q", err, want)
	}
}

// statement is a policy of one statement.
func statement(effect string, members ...string) string {
	text := `{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `"`
	for i := 0; i+1 < len(members); i += 2 {
		value := members[i+1]
		if !strings.HasPrefix(value, "{") && !strings.HasPrefix(value, "[") {
			quoted, _ := json.Marshal(value)
			value = string(quoted)
		}
		text += `,"` + members[i] + `":` + value
	}
	return text + "}}"
}

// row reads one value.
func row(w *world, into any, query string, args ...any) {
	w.Helper()
	err := w.db.View(w.Context(), func(ctx context.Context, tx *meta.Tx) error { return tx.QueryRow(ctx, query, args...).Scan(into) })
	if err != nil {
		w.Fatal(err)
	}
}
