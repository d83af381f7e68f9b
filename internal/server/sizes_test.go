package server_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

// vaultMetrics reads what /metrics shows of a vault, by the names of the metrics.
func (f *fixture) vaultMetrics(vault string) map[string]int64 {
	f.Helper()
	answer := must(f.sdkHTTP.Get(f.server.Address().URL + "/metrics"))(f)
	defer answer.Body.Close()
	body := must(io.ReadAll(answer.Body))(f)
	out := map[string]int64{}
	for line := range strings.Lines(string(body)) {
		name, rest, ok := strings.Cut(line, fmt.Sprintf(`{account="000000000000",region="us-east-1",vault=%q} `, vault))
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
		if err != nil {
			f.Fatal(err)
		}
		out[strings.TrimPrefix(name, "lockfast_vault_")] = int64(n)
	}
	return out
}

// measured waits until the records are what the vault takes.
func (f *fixture) measured(vault string) *lockfastapi.GetVaultUsageOutput {
	f.Helper()
	var u *lockfastapi.GetVaultUsageOutput
	f.eventually(func() bool {
		u = own(f, lockfastapi.GetVaultUsage, &lockfastapi.GetVaultUsageInput{BackupVaultName: vault})
		m := f.vaultMetrics(vault)
		return len(m) == 13 && m["damaged_objects"] == 0 && m["retained_bytes"] == u.RetainedBytes && m["cold_live_bytes"] == u.ColdLiveBytes && m["cold_dead_bytes"] == u.ColdDeadBytes &&
			m["physical_bytes"] == u.PhysicalBytes && m["live_bytes"] == u.LiveBytes && m["dead_bytes"] == u.DeadBytes &&
			m["dead_part_bytes"] == u.DeadPartBytes && m["recovery_points"] == u.RecoveryPoints && m["locked_bytes"] == 0 &&
			m["logical_bytes"] == u.LogicalBytes && m["measured_timestamp_seconds"] > 0
	})
	return u
}

func TestSizes_SayWhatDeletionsFree(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		home := filepath.Join(t.TempDir(), "home")
		write(f, home, map[string]string{"big": random(1, 3<<20), "same": random(2, 1<<20), "small/a": random(3, 2000), "small/b": random(4, 2000)})
		f.vault("home")
		arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
		first := f.backup("home", arn)
		write(f, home, map[string]string{"big": random(5, 2<<20), "small/a": random(6, 2000)})
		second := f.backup("home", arn)
		f.measured("home")

		describe := func(points ...string) lockfastapi.VaultDeletion {
			out := own(f, lockfastapi.DescribeDeletion, &lockfastapi.DescribeDeletionInput{RecoveryPointArns: points})
			if len(out.Vaults) != 1 || len(out.RecoveryPoints) != len(points) || out.RecoveryPoints[0].Refusal != nil {
				t.Fatalf("DescribeDeletion(%v) = %+v", points, out)
			}
			return out.Vaults[0]
		}
		both, one := describe(first, second), describe(first)
		if both.FreedBytes < 6<<20 || both.SharedBytes != 0 || both.FreedPartBytes != 0 {
			t.Errorf("deleting both = %+v, want all of more than 6 MiB", both)
		}
		if one.FreedBytes < 3<<20 || one.FreedBytes > 4<<20-(512<<10) || one.SharedBytes < 1<<20 || one.FreedPartBytes != 2000 {
			t.Errorf("deleting the first = %+v, want 3 MiB, 1 MiB to stay and one small file in a bundle", one)
		}
		f.eventually(func() bool {
			for _, p := range own(f, lockfastapi.ListRecoveryPoints, &lockfastapi.ListRecoveryPointsInput{}).RecoveryPoints {
				if p.RecoveryPointArn == first && p.UniqueBytes != nil {
					return *p.UniqueBytes == one.FreedBytes && *p.UniquePartBytes == one.FreedPartBytes && *p.StoredBytes == one.FreedBytes+one.SharedBytes
				}
			}
			return false
		})

		if err := f.delete("home", first); err != nil {
			t.Fatal(err)
		}
		f.gone("home", first)
		if u := f.measured("home"); u.DeadBytes < one.FreedBytes || u.DeadPartBytes != 2000 || u.RecoveryPoints != 1 {
			t.Errorf("after the deletion = %+v, want what was said: %+v", u, one)
		}
		f.reclaim("home")
		u := f.measured("home")
		if u.DeadBytes != 0 || u.DeadPartBytes != 0 {
			t.Errorf("after a reclaim = %+v", u)
		}
		before := f.vaultMetrics("home")
		f.stop()
		f = start(t, o)
		if after := f.vaultMetrics("home"); after["live_bytes"] != before["live_bytes"] || after["live_bytes"] == 0 {
			t.Errorf("metrics after a restart = %v, want %v", after, before)
		}
	})
}
