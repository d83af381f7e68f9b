package trail_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/trail"
)

// BenchmarkRead measures a read that asks the database, with the trail and without it, in turns: ns/op is of both
// together, the metrics tell them apart. A turn with the trail ends when all its reads are on disk. "router" has no network
// and no client beside it. Run it with -benchtime=20x or more.
func BenchmarkRead(b *testing.B) {
	b.Run("router", func(b *testing.B) {
		compare(b, func(h http.Handler) func(*http.Request) int {
			return func(req *http.Request) int {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				return w.Code
			}
		})
	})
	b.Run("HTTP", func(b *testing.B) {
		compare(b, func(h http.Handler) func(*http.Request) int {
			server := httptest.NewServer(h)
			b.Cleanup(server.Close)
			return func(req *http.Request) int {
				req.URL.Scheme, req.URL.Host, req.RequestURI = "http", server.Listener.Addr().String(), ""
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				return resp.StatusCode
			}
		})
	})
}

func compare(b *testing.B, open func(h http.Handler) func(*http.Request) int) {
	db := metatest.Open(b, meta.Options{URL: metatest.SQLite(b)}, trail.Migrations())
	s := trail.New(trail.Options{DB: db, Pager: restjson.NewPager([]byte("key")), Account: account, Log: slog.New(slog.DiscardHandler)})
	send := []func(*http.Request) int{open(reader(db, nil)), open(reader(db, s))}
	const turn = 2000
	var cpu [2][]float64 // µs for a request
	for n := 0; b.Loop() || n%2 == 1; n++ {
		start := processorTime(b)
		for range turn {
			req := httptest.NewRequest(http.MethodGet, "/backup-vaults/aa", nil)
			sigv4.Sign(req, nil, sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "eu-north-1", "backup", time.Now())
			if code := send[n%2](req); code != http.StatusOK {
				b.Fatalf("answer %d", code)
			}
		}
		if n%2 == 1 {
			s.Flush(b.Context())
		}
		cpu[n%2] = append(cpu[n%2], float64((processorTime(b)-start).Nanoseconds())/1000/turn)
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	var loss []float64
	for i := range cpu[1] {
		loss = append(loss, 100*(cpu[1][i]/cpu[0][i]-1))
	}
	b.ReportMetric(median(cpu[0]), "cpu-µs-without")
	b.ReportMetric(median(cpu[1]), "cpu-µs-with")
	b.ReportMetric(median(loss), "cpu-%-more")
	kept := count(b, db, "SUM(calls)")
	b.ReportMetric(float64(kept)/float64(turn*len(cpu[1])), "kept")
	b.ReportMetric(float64(count(b, db, "SUM(LENGTH(data))"))/float64(kept), "stored-B")
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// processorTime is what this process has used, waiting excluded.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skipf("no processor times: %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reader is a router with an operation that reads a row.
func reader(db *meta.DB, s *trail.Service) *restjson.Router {
	o := operation.Options{Service: backupapi.Service, Credentials: users{}, Authorizer: users{}, Log: slog.New(slog.DiscardHandler)}
	if s != nil {
		o.Recorder = s
	}
	r := restjson.New(o)
	restjson.Handle(r, backupapi.DescribeBackupVault, func(ctx context.Context, in *backupapi.DescribeBackupVaultInput) (*backupapi.DescribeBackupVaultOutput, error) {
		var n int64
		err := db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			return tx.QueryRow(ctx, "SELECT MAX(number) FROM schema_migration WHERE name <> ?", in.BackupVaultName).Scan(&n)
		})
		return &backupapi.DescribeBackupVaultOutput{BackupVaultName: &in.BackupVaultName, NumberOfRecoveryPoints: &n}, err
	}, func(c caller.Caller, in *backupapi.DescribeBackupVaultInput) []caller.Access {
		return caller.On("backup:DescribeBackupVault", "arn:aws:backup:"+c.Region+":"+c.Account+":backup-vault:"+in.BackupVaultName)
	})
	return r
}

// BenchmarkRecord measures what a read pays for its record: the making of it, on the way to the answer.
func BenchmarkRecord(b *testing.B) {
	db := metatest.Open(b, meta.Options{URL: metatest.SQLite(b), Hook: func(string) error { return context.Canceled }})
	s := trail.New(trail.Options{DB: db, Account: account, Log: slog.New(slog.DiscardHandler)})
	c := read("aa", time.Now())
	for b.Loop() {
		s.Record(b.Context(), c)
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}

func count(b *testing.B, db *meta.DB, what string) (n int) {
	err := db.View(b.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT "+what+" FROM trail_segment").Scan(&n)
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkChange measures the recording of changes, one after the other and 16 at a time.
func BenchmarkChange(b *testing.B) {
	for name, parallel := range map[string]int{"1": 1, "16": 16} {
		b.Run(name, func(b *testing.B) {
			db := metatest.Open(b, meta.Options{URL: metatest.SQLite(b)}, trail.Migrations())
			s := trail.New(trail.Options{DB: db, Account: account, Log: slog.New(slog.DiscardHandler)})
			c := *read("aa", time.Now())
			c.Operation, c.Input = backupapi.DeleteBackupVault.Descriptor, &backupapi.DeleteBackupVaultInput{BackupVaultName: "aa"}
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			for range parallel {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						s.Record(context.Background(), &c)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
