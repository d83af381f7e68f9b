package main_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// points is how many recovery points the vault holds, pageSize how many a page.
const (
	points   = 100_000
	pageSize = 100
	workers  = 4 // clients at once
)

// BenchmarkAPI measures a server of the real binary over HTTP, with a vault of
// 100,000 recovery points. Run it with -benchtime=1x: the counts are its own.
func BenchmarkAPI(b *testing.B) {
	binary, err := filepath.Abs("../bin/lockfast")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		b.Skipf("%v: run make build first", err)
	}
	for name, create := range map[string]func(testing.TB) string{"SQLite": metatest.SQLite, "PostgreSQL": metatest.PostgreSQL} {
		b.Run(name, func(b *testing.B) {
			s := &apiServer{binary: binary, data: filepath.Join(b.TempDir(), "data"), url: create(b)}
			s.fill(b)
			c := s.start(b)
			defer s.stop(b)
			s.measure(b, c)
		})
	}
}

type apiServer struct {
	binary, data string
	url          string // of the database
	cmd          *exec.Cmd
	arns         []string
	last         *string // token of page 900
}

// start serves and returns a client.
func (s *apiServer) start(b *testing.B) *restjson.Client {
	b.Helper()
	s.cmd = exec.Command(s.binary, "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--metadata", s.url)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	s.cmd.Stderr = &log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		b.Fatalf("serve: %v\n%s", err, log.String())
	}
	c := &restjson.Client{
		URL: strings.TrimSpace(line[strings.LastIndex(line, " "):]), Region: "us-east-1",
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}},
	}
	text, err := os.ReadFile(filepath.Join(s.data, "credentials"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			c.AccessKeyID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			c.Secret = strings.TrimSpace(value)
		}
	}
	return c
}

func (s *apiServer) stop(b *testing.B) {
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		b.Errorf("serve ended with %v", err)
	}
}

// point makes a vault and a recovery point through the API, and returns its ARN. The server has ended then.
func (s *apiServer) point(b *testing.B) string {
	b.Helper()
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		b.Fatal(err)
	}
	c, ctx := s.start(b), b.Context()
	defer s.stop(b)
	must(b, call(ctx, c, backupapi.CreateBackupVault, &backupapi.CreateBackupVaultInput{BackupVaultName: "big"}))
	resource := must(b, call(ctx, c, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(b.TempDir())}))
	job := must(b, call(ctx, c, backupapi.StartBackupJob, &backupapi.StartBackupJobInput{
		BackupVaultName: "big", ResourceArn: resource.ResourceArn,
		IamRoleArn: "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole",
	}))
	for {
		d := must(b, call(ctx, c, backupapi.DescribeBackupJob, &backupapi.DescribeBackupJobInput{BackupJobId: *job.BackupJobId}))
		if d.CompletionDate != nil {
			return *d.RecoveryPointArn
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// fill makes one recovery point through the API and copies its row: 100,000
// backups would take hours and leave the same rows.
func (s *apiServer) fill(b *testing.B) {
	b.Helper()
	s.point(b)
	ctx := b.Context()
	db, err := meta.Open(ctx, meta.Options{URL: s.url})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(ctx, s.copyRows); err != nil {
		b.Fatal(err)
	}
}

// copyRows copies the one row with other ARNs and later times, whatever its columns are.
func (s *apiServer) copyRows(ctx context.Context, tx *meta.Tx) error {
	s.arns = nil
	for n := range points - 1 {
		s.arns = append(s.arns, fmt.Sprintf("%s%012d", arnStem, n+1))
	}
	rows, err := tx.Query(ctx, "SELECT * FROM recovery_point")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	rows.Close()
	if err != nil {
		return err
	}
	values := slices.Clone(columns)
	for i, c := range columns {
		switch c {
		case "arn":
			values[i] = "'" + arnStem + "' || SUBSTR(CAST(1000000000000 + n.i AS TEXT), 2)"
		case "created_at":
			values[i] = "created_at + n.i"
		}
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO recovery_point (%s) SELECT %s FROM recovery_point, n`,
		points-1, strings.Join(columns, ", "), strings.Join(values, ", ")))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE vault SET point_count = ?", points)
	return err
}

const arnStem = "arn:aws:backup:us-east-1:000000000000:recovery-point:00000000-0000-4000-8000-"

func (s *apiServer) measure(b *testing.B, c *restjson.Client) {
	b.Run("DescribeRecoveryPoint", func(b *testing.B) {
		load(b, 20_000, func(ctx context.Context, n int) error {
			_, err := restjson.Call(ctx, c, backupapi.DescribeRecoveryPoint, &backupapi.DescribeRecoveryPointInput{
				BackupVaultName: "big", RecoveryPointArn: s.arns[n*7919%len(s.arns)]})
			return err
		})
	})
	list := func(token *string) (*backupapi.ListRecoveryPointsByBackupVaultOutput, error) {
		return restjson.Call(b.Context(), c, backupapi.ListRecoveryPointsByBackupVault, &backupapi.ListRecoveryPointsByBackupVaultInput{
			BackupVaultName: "big", MaxResults: new(pageSize), NextToken: token})
	}
	for range 899 {
		s.last = must(b, func() (*backupapi.ListRecoveryPointsByBackupVaultOutput, error) { return list(s.last) }).NextToken
	}
	for name, token := range map[string]*string{"List/page1": nil, "List/page900": s.last} {
		b.Run(name, func(b *testing.B) {
			load(b, 2000, func(context.Context, int) error { _, err := list(token); return err })
		})
	}
	b.Run("DeleteRecoveryPoint", func(b *testing.B) {
		load(b, 2000, func(ctx context.Context, n int) error {
			_, err := restjson.Call(ctx, c, backupapi.DeleteRecoveryPoint, &backupapi.DeleteRecoveryPointInput{
				BackupVaultName: "big", RecoveryPointArn: s.arns[n]})
			return err
		})
	})
}

// load sends n requests from several clients and reports what they took.
func load(b *testing.B, n int, request func(ctx context.Context, n int) error) {
	took := make([]time.Duration, n)
	whole := work(b, n, func(ctx context.Context, i int) error {
		began := time.Now()
		err := request(ctx, i)
		took[i] = time.Since(began)
		return err
	})
	slices.Sort(took)
	b.ReportMetric(float64(n)/whole.Seconds(), "requests/s")
	b.ReportMetric(float64(took[n/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[n*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// work sends n requests from several clients and returns what they took together.
func work(b *testing.B, n int, request func(ctx context.Context, n int) error) time.Duration {
	next := make(chan int)
	var wg sync.WaitGroup
	start := time.Now()
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := request(b.Context(), i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return time.Since(start)
}

func call[In, Out any](ctx context.Context, c *restjson.Client, op wire.Operation[In, Out], in *In) func() (*Out, error) {
	return func() (*Out, error) { return restjson.Call(ctx, c, op, in) }
}

func must[Out any](b *testing.B, call func() (*Out, error)) *Out {
	b.Helper()
	out, err := call()
	if err != nil {
		b.Fatal(err)
	}
	return out
}
