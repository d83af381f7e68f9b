package main

import (
	"strings"
	"testing"
)

func TestTrail(t *testing.T) {
	c := newCLI(t)
	arn, _ := c.do(exitDone, "resource", "add", "--type", "EFS", "--path", t.TempDir(), "--tag", "a=b")
	c.do(exitFailed, "resource", "remove", arn+"x")
	table, _ := c.do(exitDone, "trail", "--since", "1h", "--changes")
	lines := strings.Split(table, "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "TIME") || !strings.Contains(lines[1], "ResourceNotFoundException") ||
		!strings.Contains(lines[2], " ok ") || !strings.HasSuffix(lines[2], arn) {
		t.Errorf("lockfast trail printed\n%s", table)
	}
	for _, test := range []struct {
		args string
		want int
	}{
		{"--changes", 2}, {"--changes --limit 1", 1}, {"--changes --errors", 1}, {"--event RegisterResource", 1}, {"--event DescribeVault", 0},
		{"--resource " + arn + " --limit 0", 1}, {"--user nobody", 0},
	} {
		found := c.lines(exitDone, "result", append([]string{"trail"}, strings.Fields(test.args)...)...)
		if len(found) != test.want {
			t.Errorf("lockfast trail %s shows %d calls, want %d: %v", test.args, len(found), test.want, found)
		}
		for _, r := range found {
			if !strings.HasSuffix(r["eventName"].(string), "Resource") || r["userIdentity"].(map[string]any)["type"] != "IAMUser" {
				t.Errorf("lockfast trail %s shows %v", test.args, r)
			}
		}
	}
	c.do(exitUsage, "trail", "--limit", "-1")
	c.do(exitUsage, "trail", "--since", "-1h")
}
