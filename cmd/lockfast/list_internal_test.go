package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// What is EXPIRED always says why.
func TestPrint_NamesTheReason(t *testing.T) {
	t.Parallel()
	const reason = "The role r does not exist or cannot be assumed by backup.amazonaws.com"
	p := &lockfastapi.RecoveryPoint{RecoveryPointArn: "arn:p", BackupVaultName: "home", Status: "EXPIRED", StorageClass: "COLD",
		StatusMessage: new(reason), CreationDate: time.Now()}
	for _, json := range []bool{false, true} {
		var out strings.Builder
		a := &app{out: &output{stdout: &out, stderr: &out, json: json}}
		err := a.printLine(p)
		if !json {
			out.Reset()
			err = printTable(&out, []lockfastapi.RecoveryPoint{*p})
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, "EXPIRED") || !strings.Contains(got, "COLD") || !strings.Contains(got, reason) {
			t.Errorf("print with JSON %t = %q, want the reason and the storage class in it", json, got)
		}
	}
}
