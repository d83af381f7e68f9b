package e2e_test

import (
	"testing"
)

func TestPlans_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t, "--clock", "2026-01-01T00:00:00Z")
	dir, arn := s.protect(t)
	s.lockfast(t, "resource", "add", "--type", "EFS", "--path", t.TempDir(), "--tag", "backup=daily")
	s.lockfast(t, "resource", "add", "--type", "EFS", "--path", t.TempDir(), "--tag", "backup=daily", "--tag", "stage=test")
	s.story(t, dir, arn, python(t), "boto3/plans.py")
}
