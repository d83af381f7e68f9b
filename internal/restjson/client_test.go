package restjson_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

func TestCall_BringsInputsAndOutputs(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC)
	var got backupapi.StartBackupJobInput
	b := newBench(t, backupapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, backupapi.StartBackupJob, func(_ context.Context, in *backupapi.StartBackupJobInput) (*backupapi.StartBackupJobOutput, error) {
			got = *in
			return &backupapi.StartBackupJobOutput{BackupJobId: new("J"), CreationDate: &at, IsParent: new(true)}, nil
		}, anything[backupapi.StartBackupJobInput]("backup:StartBackupJob"))
	})
	in := &backupapi.StartBackupJobInput{
		BackupVaultName: "vault", IamRoleArn: "arn:aws:iam::1:role/é", ResourceArn: "arn:x", CompleteWindowMinutes: new(int64(120)),
		Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(30))}, RecoveryPointTags: map[string]string{"k": "v", "<": "\u2028"},
	}
	out, err := restjson.Call(t.Context(), b.client, backupapi.StartBackupJob, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&backupapi.StartBackupJobOutput{BackupJobId: new("J"), CreationDate: &at, IsParent: new(true)}, out); diff != "" {
		t.Error(diff)
	}
	if got.IdempotencyToken == nil || in.IdempotencyToken != nil {
		t.Errorf("idempotency token = %v, want one, and the input unchanged", got.IdempotencyToken)
	}
	got.IdempotencyToken = nil
	if diff := cmp.Diff(*in, got); diff != "" {
		t.Error(diff)
	}
	if _, err := restjson.Call(t.Context(), b.client, backupapi.StartBackupJob, &backupapi.StartBackupJobInput{}); err == nil || !strings.Contains(err.Error(), "BackupVaultName") {
		t.Errorf("Call without a vault = %v, want its name", err)
	}
}

func TestCall_UnderstandsForeignErrors(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("redirect followed")
		}
		if r.URL.Path == "/backup-vaults/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
			return
		}
		http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
	}))
	defer s.Close()
	c := &restjson.Client{URL: s.URL, Region: "us-east-1", AccessKeyID: "a", Secret: "b"}
	for name, status := range map[string]int{"moved": 301, "broken": 502} {
		_, err := restjson.Call(t.Context(), c, backupapi.DescribeBackupVault, &backupapi.DescribeBackupVaultInput{BackupVaultName: name})
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Status != status {
			t.Errorf("Call(%s) = %v, want status %d", name, err, status)
		}
	}
	s.Close()
	_, err := restjson.Call(t.Context(), c, backupapi.DescribeBackupVault, &backupapi.DescribeBackupVaultInput{BackupVaultName: "vault"})
	if _, ok := errors.AsType[*wire.Error](err); ok || err == nil {
		t.Errorf("Call to a dead server = %v", err)
	}
}

func sdk(b *bench) *backup.Client {
	return backup.New(backup.Options{
		BaseEndpoint: &b.URL, Region: "eu-north-1", RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAALICE", SecretAccessKey: "secret"}, nil
		}),
	})
}

func TestServe_UnderstandsTheGoSDK(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC)
	var got backupapi.ListRecoveryPointsByBackupVaultInput
	b := newBench(t, backupapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, backupapi.ListRecoveryPointsByBackupVault,
			func(_ context.Context, in *backupapi.ListRecoveryPointsByBackupVaultInput) (*backupapi.ListRecoveryPointsByBackupVaultOutput, error) {
				got = *in
				points := []backupapi.RecoveryPointByBackupVault{{RecoveryPointArn: new("arn:p"), CreationDate: &at, Status: new(backupapi.RecoveryPointStatusCompleted)}}
				return &backupapi.ListRecoveryPointsByBackupVaultOutput{RecoveryPoints: points, NextToken: new("n")}, nil
			}, anything[backupapi.ListRecoveryPointsByBackupVaultInput]("backup:ListRecoveryPointsByBackupVault"))
		deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error {
			e := backupapi.InvalidRequestExceptionf("held")
			e.Code, e.Context = "ERROR_1", "hold"
			return e
		})(r)
	})
	client := sdk(b)
	out, err := client.ListRecoveryPointsByBackupVault(t.Context(), &backup.ListRecoveryPointsByBackupVaultInput{
		BackupVaultName: aws.String("vault"), ByCreatedAfter: &at, ByResourceArn: aws.String("arn:aws:s3:::b/a b+c~d*é!'()"), NextToken: aws.String("a+b/c== d"), MaxResults: aws.Int32(20),
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := out.RecoveryPoints[0]; *p.RecoveryPointArn != "arn:p" || !p.CreationDate.Equal(at) || p.Status != types.RecoveryPointStatusCompleted || *out.NextToken != "n" {
		t.Errorf("the SDK read %+v", out)
	}
	want := backupapi.ListRecoveryPointsByBackupVaultInput{
		BackupVaultName: "vault", ByCreatedAfter: &at, ByResourceArn: new("arn:aws:s3:::b/a b+c~d*é!'()"), NextToken: new("a+b/c== d"), MaxResults: new(20),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = client.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("vault"), RecoveryPointArn: aws.String("arn:aws:ec2:us-east-1::snapshot/snap-1"),
	})
	e, ok := errors.AsType[*types.InvalidRequestException](err)
	if !ok || *e.Message != "held" || *e.Code != "ERROR_1" || *e.Context != "hold" {
		t.Errorf("the SDK read the error as %v", err)
	}
}
