package trail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/trail"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	account = "111111111111"
	other   = "222222222222"
	vaultA  = "arn:aws:backup:eu-north-1:111111111111:backup-vault:aa"
)

var issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// users knows alice, a session of a role, and bob in another account. Their secret is "secret".
type users struct{}

func (users) Lookup(_ context.Context, id, token string) (string, caller.Caller, error) {
	switch id {
	case "AKIAALICE":
		return "secret", caller.Caller{Account: account, ARN: "arn:aws:iam::111111111111:user/alice", UserID: "AIDAALICE",
			AccessKeyID: id, Kind: caller.User, Name: "alice"}, nil
	case "ASIAROBOT":
		if token != "token" {
			return "", caller.Caller{}, sigv4.ErrUnknownKey
		}
		return "secret", caller.Caller{Account: account, ARN: "arn:aws:sts::111111111111:assumed-role/Operator/night",
			UserID: "AROAOPERATOR:night", AccessKeyID: id, Kind: caller.RoleSession, Name: "Operator",
			RoleARN: "arn:aws:iam::111111111111:role/Operator", Session: &caller.Session{Name: "night", Issued: issued}}, nil
	case "AKIABOB":
		return "secret", caller.Caller{Account: other, ARN: "arn:aws:iam::222222222222:user/bob", UserID: "AIDABOB", AccessKeyID: id}, nil
	}
	return "", caller.Caller{}, sigv4.ErrUnknownKey
}

func (users) Authorize(_ context.Context, _ caller.Caller, asked []caller.Access) error {
	if strings.HasSuffix(asked[0].Resource, ":forbidden") {
		return &wire.Denied{Message: "not allowed"}
	}
	return nil
}

// fixture is a trail behind routers of three services, over HTTP.
type fixture struct {
	*testing.T
	db               *meta.DB
	trail            *trail.Service
	backup, own, sts *httptest.Server
	metrics          *prometheus.Registry

	mu  sync.Mutex // guards log
	log bytes.Buffer
	now atomic.Pointer[time.Time] // of the trail; nil is real time
}

func (f *fixture) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

func (f *fixture) logged() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

// each runs a test on both databases. change may alter the options of the trail.
func each(t *testing.T, test func(f *fixture)) {
	t.Helper()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		test(newFixture(t, open(t, trail.Migrations()), nil))
	})
}

// hooked runs a test on SQLite with a hook of the database.
func hooked(t *testing.T, hook func(point string) error) *fixture {
	t.Helper()
	db := metatest.Open(t, meta.Options{URL: metatest.SQLite(t), Hook: hook}, trail.Migrations())
	return newFixture(t, db, nil)
}

func newFixture(t *testing.T, db *meta.DB, change func(o *trail.Options)) *fixture {
	t.Helper()
	f := &fixture{T: t, db: db, metrics: prometheus.NewRegistry()}
	log := slog.New(slog.NewTextHandler(f, nil))
	pager := restjson.NewPager([]byte("key"))
	o := trail.Options{DB: db, Pager: pager, Account: account, Metrics: f.metrics, Log: log, Now: func() time.Time {
		if now := f.now.Load(); now != nil {
			return *now
		}
		return time.Now()
	}}
	if change != nil {
		change(&o)
	}
	f.trail = trail.New(o)
	t.Cleanup(func() {
		if err := f.trail.Close(); err != nil {
			t.Errorf("close trail: %v", err)
		}
	})
	options := func(s *wire.Service) operation.Options {
		return operation.Options{Service: s, Credentials: users{}, Authorizer: users{}, Recorder: f.trail, Log: log}
	}
	backup, own, sts := restjson.New(options(backupapi.Service)), restjson.New(options(lockfastapi.Service)), query.New(options(stsapi.Service))
	restjson.Handle(backup, backupapi.CreateBackupVault, create, func(c caller.Caller, in *backupapi.CreateBackupVaultInput) []caller.Access {
		return caller.On("backup:CreateBackupVault", "arn:aws:backup:"+c.Region+":"+c.Account+":backup-vault:"+in.BackupVaultName)
	})
	restjson.Handle(backup, backupapi.DescribeBackupVault, describe, func(c caller.Caller, in *backupapi.DescribeBackupVaultInput) []caller.Access {
		return caller.On("backup:DescribeBackupVault", "arn:aws:backup:"+c.Region+":"+c.Account+":backup-vault:"+in.BackupVaultName)
	})
	backup.Unimplemented(backupapi.Operations()...)
	query.Handle(sts, stsapi.AssumeRole, assume, query.Anybody)
	f.trail.Routes(own)
	for _, s := range []struct {
		to **httptest.Server
		h  http.Handler
	}{{&f.backup, backup}, {&f.own, own}, {&f.sts, sts}} {
		*s.to = httptest.NewServer(s.h)
		t.Cleanup((*s.to).Close)
	}
	return f
}

func create(ctx context.Context, in *backupapi.CreateBackupVaultInput) (*backupapi.CreateBackupVaultOutput, error) {
	if in.BackupVaultName == "taken" {
		return nil, backupapi.AlreadyExistsExceptionf("Backup vault taken exists.")
	}
	c := caller.From(ctx)
	return &backupapi.CreateBackupVaultOutput{BackupVaultName: &in.BackupVaultName,
		BackupVaultArn: new("arn:aws:backup:" + c.Region + ":" + c.Account + ":backup-vault:" + in.BackupVaultName)}, nil
}

func describe(_ context.Context, in *backupapi.DescribeBackupVaultInput) (*backupapi.DescribeBackupVaultOutput, error) {
	if in.BackupVaultName == "panic" {
		panic("oops")
	}
	return &backupapi.DescribeBackupVaultOutput{BackupVaultName: &in.BackupVaultName}, nil
}

func assume(_ context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	return &stsapi.AssumeRoleOutput{
		AssumedRoleUser: &stsapi.AssumedRoleUser{Arn: in.RoleArn + "/x", AssumedRoleId: "AROA:x"},
		Credentials:     &stsapi.Credentials{AccessKeyId: "ASIANEW", SecretAccessKey: "hunter2", SessionToken: "hunter3", Expiration: issued},
	}, nil
}

func client(s *httptest.Server, key string) *restjson.Client {
	c := &restjson.Client{URL: s.URL, Region: "eu-north-1", AccessKeyID: key, Secret: "secret"}
	if strings.HasPrefix(key, "ASIA") {
		c.SessionToken = "token"
	}
	return c
}

// create asks for a new vault and returns the name of the error.
func (f *fixture) create(key, name string) string {
	f.Helper()
	_, err := restjson.Call(f.Context(), client(f.backup, key), backupapi.CreateBackupVault,
		&backupapi.CreateBackupVaultInput{BackupVaultName: name, CreatorRequestId: new("id"), BackupVaultTags: map[string]string{"colour": "hunter2"}})
	return errorName(f.T, err)
}

func (f *fixture) describe(key, name string) string {
	f.Helper()
	_, err := restjson.Call(f.Context(), client(f.backup, key), backupapi.DescribeBackupVault,
		&backupapi.DescribeBackupVaultInput{BackupVaultName: name})
	return errorName(f.T, err)
}

func errorName(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatal(err)
	}
	return e.Name
}

// list lists everything that fits, with pages of a size.
func (f *fixture) list(key string, in lockfastapi.ListTrailEventsInput) []lockfastapi.TrailEvent {
	f.Helper()
	var all []lockfastapi.TrailEvent
	for {
		out, err := restjson.Call(f.Context(), client(f.own, key), lockfastapi.ListTrailEvents, &in)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, out.TrailEvents...)
		if out.NextToken == nil {
			return all
		}
		in.NextToken = out.NextToken
	}
}

// rows counts the rows of a table, without the trail's help.
func (f *fixture) rows(table string) (n int) {
	f.Helper()
	err := f.db.View(f.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n)
	})
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// reads counts the reads in the database, without the trail's help.
func (f *fixture) reads() (n int) {
	f.Helper()
	err := f.db.View(f.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT COALESCE(SUM(calls), 0) FROM trail_segment").Scan(&n)
	})
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// metric returns the value of a counter, by its name and kind.
func (f *fixture) metric(name, kind string) int {
	f.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		f.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (kind == "" || m.GetLabel()[0].GetValue() == kind) {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	f.Fatalf("no metric %s %s", name, kind)
	return 0
}

func decode(t *testing.T, record string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(record), &m); err != nil {
		t.Fatalf("record %s: %v", record, err)
	}
	return m
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: does not happen", what)
		}
	}
}
