package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Rounds in which servers are compared, and the requests of each server in a round.
const (
	rounds       = 20
	roundRequest = 1500
)

// BenchmarkServers measures DescribeRecoveryPoint on servers of several binaries, which LOCKFAST_BINARIES names with commas
// between them. They take turns, so that what else the machine does slows all of them alike. The metrics are the processor
// time of each server for a request, background work included, and the median of its speed by that of the first in the same
// round. Run it with -benchtime=1x: the counts are its own.
func BenchmarkServers(b *testing.B) {
	binaries := strings.Split(os.Getenv("LOCKFAST_BINARIES"), ",")
	if binaries[0] == "" {
		b.Skip("LOCKFAST_BINARIES names no binaries")
	}
	servers := make([]*apiServer, len(binaries))
	requests := make([]func(context.Context, int) error, len(binaries))
	for i, binary := range binaries {
		s := &apiServer{binary: binary, data: filepath.Join(b.TempDir(), "data"), url: metatest.SQLite(b)}
		point := s.point(b)
		c := s.start(b)
		defer s.stop(b)
		servers[i] = s
		requests[i] = func(ctx context.Context, _ int) error {
			_, err := restjson.Call(ctx, c, backupapi.DescribeRecoveryPoint,
				&backupapi.DescribeRecoveryPointInput{BackupVaultName: "big", RecoveryPointArn: point})
			return err
		}
		work(b, roundRequest, requests[i]) // warms up
	}
	before := make([]time.Duration, len(servers))
	for i, s := range servers {
		before[i] = s.cpu(b)
	}
	speeds := make([][]float64, len(servers))
	for round := range rounds {
		took := make([]time.Duration, len(servers))
		for turn := range servers {
			i := (round + turn) % len(servers)
			took[i] = work(b, roundRequest, requests[i])
		}
		for i := range servers {
			speeds[i] = append(speeds[i], took[0].Seconds()/took[i].Seconds())
		}
	}
	time.Sleep(2 * time.Second) // what is written later belongs to the requests, too
	for i, s := range servers {
		name := fmt.Sprintf("-%d-%s", i, filepath.Base(binaries[i]))
		slices.Sort(speeds[i])
		b.ReportMetric(float64((s.cpu(b)-before[i]).Microseconds())/(rounds*roundRequest), "cpu-µs"+name)
		b.ReportMetric(speeds[i][rounds/2], "speed"+name)
	}
	b.ReportMetric(0, "ns/op")
}

// cpu is the processor time that the server has used.
func (s *apiServer) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Skipf("no processor times: %v", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // user and system time
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
