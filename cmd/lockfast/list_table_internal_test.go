package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

func TestPrintTable_PutsChildrenBehindTheirParents(t *testing.T) {
	t.Parallel()
	point := func(name, parent string, isParent bool) lockfastapi.RecoveryPoint {
		p := lockfastapi.RecoveryPoint{RecoveryPointArn: "arn-" + name, ResourceName: &name, BackupVaultName: "home", Status: "COMPLETED",
			StorageClass: "WARM", CreationDate: time.Unix(0, 0), LogicalBytes: new(int64(1)), StoredBytes: new(int64(1)), IsParent: isParent}
		if parent != "" {
			p.ParentRecoveryPointArn = new("arn-" + parent)
		}
		if name == "shop" {
			p.LogicalBytes, p.StoredBytes = new(int64(3)), new(int64(2))
		}
		return p
	}
	var b strings.Builder
	err := printTable(&b, []lockfastapi.RecoveryPoint{
		point("alone", "", false), point("crm", "inner", false), point("inner", "shop", true), point("web", "shop", false),
		point("shop", "", true), point("orphan", "gone", false),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n")[1:] {
		got = append(got, regexp.MustCompile(`^.*COMPLETED  WARM   | +arn-.*$`).ReplaceAllString(line, ""))
	}
	want := []string{
		"1 B      1 B     -       -      home   alone", "3 B      2 B     -       -      home   shop", "1 B      1 B     -       -      home     inner",
		"1 B      1 B     -       -      home       crm", "1 B      1 B     -       -      home     web", "1 B      1 B     -       -      home   orphan",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
