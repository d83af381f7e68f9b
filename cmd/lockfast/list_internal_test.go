package main

import (
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// What is EXPIRED always says why.
func TestPrintPoint_NamesTheReason(t *testing.T) {
	t.Parallel()
	const reason = "The role r does not exist or cannot be assumed by backup.amazonaws.com"
	p := &lockfastapi.RecoveryPoint{RecoveryPointArn: "arn:p", BackupVaultName: "home", Status: "EXPIRED",
		StatusMessage: new(reason), CreationDate: time.Now()}
	for _, json := range []bool{false, true} {
		var out strings.Builder
		a := &app{out: &output{stdout: &out, stderr: &out, json: json}}
		table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		if err := a.printPoint(table, p); err != nil {
			t.Fatal(err)
		}
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, "EXPIRED") || !strings.Contains(got, reason) {
			t.Errorf("printPoint with JSON %t = %q, want the reason in it", json, got)
		}
	}
}
